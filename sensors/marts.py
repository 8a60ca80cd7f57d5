"""What is published and not served yet has its marts built."""

from collections.abc import Iterator

import dagster as dg

from acme.lakehouse.platform import open_platform
from acme.operations.marts.build import outstanding

# The oldest first, so that a long outage is worked off in order.
REQUESTS_MAX = 20


def marts_sensor() -> dg.SensorDefinition:
    """Return the sensor that asks for the marts of published dates that lack them."""

    @dg.sensor(
        name="marts_of_published_dates",
        job_name="marts",
        minimum_interval_seconds=30,
        description="Builds the marts of every published date that has none yet.",
    )
    def marts_of_published_dates(
        context: dg.SensorEvaluationContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        del context
        platform = open_platform()
        waiting = outstanding(platform)[:REQUESTS_MAX]
        if not waiting:
            yield dg.SkipReason("every published date has its marts")
        for day in waiting:
            # A build that failed is started again by a person: the key never comes twice.
            yield dg.RunRequest(run_key=f"marts {day}", partition_key=day.isoformat())

    return marts_of_published_dates
