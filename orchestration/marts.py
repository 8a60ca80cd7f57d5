"""Finance's marts as Dagster assets: what `acme.operations.marts` builds of published dates.

No process of the business day: it reads what is published, and no date waits for it. One step
builds every mart on both engines, compares them and serves them; where they differ nothing is
served and the blocking checks say which rows.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import dagster as dg

from acme.evidence.versions import code_version
from acme.lakehouse.platform import open_platform
from acme.operations.marts.build import EnginesDisagreeError, build
from acme.operations.marts.models import Mart, marts
from acme.operations.marts.parity import Comparison
from orchestration.calendar_file import DealingCalendar
from orchestration.partitions import business_dates

GROUP: Final = "marts"
JOB: Final = "marts"
OWNER: Final = "team:finance"
CHECK: Final = "engines_agree"
PUBLISHED: Final = dg.AssetKey(["core", "publications"])


def mart_assets(calendar: DealingCalendar) -> dg.AssetsDefinition:
    """Return the marts, one asset each, downstream of the publication of their date."""
    partitions = business_dates(calendar)

    @dg.multi_asset(
        name="finance__marts",
        specs=[_spec(mart) for mart in marts()],
        check_specs=[
            dg.AssetCheckSpec(
                name=CHECK,
                asset=_key(mart.name),
                blocking=True,
                description="DuckDB and Postgres made the same rows, to the last digit.",
                partitions_def=partitions,
            )
            for mart in marts()
        ],
        partitions_def=partitions,
        # A span of dates is built at once: most of the time is dbt's, whatever the number of rows.
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def build_marts(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        dates = [date.fromisoformat(key) for key in context.partition_keys]
        try:
            built = build(open_platform(), dates)
        except EnginesDisagreeError as error:
            context.log.warning("%s", error)
            yield from [_judged(comparison) for comparison in error.comparisons]
            return
        for comparison in built.comparisons:
            yield dg.MaterializeResult(
                asset_key=_key(comparison.mart),
                metadata={"dagster/row_count": comparison.rows, "dates": len(dates)},
                check_results=[_judged(comparison)],
            )

    return build_marts


def marts_job() -> "dg.UnresolvedAssetJobDefinition":
    """Return the job that builds the marts of a published date."""
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.groups(GROUP),
        description="Finance's marts of a published date, on DuckDB and on Postgres.",
    )


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey([GROUP, name])


def _spec(mart: Mart) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=_key(mart.name),
        deps=[PUBLISHED],
        group_name=GROUP,
        owners=[OWNER],
        kinds={"dbt", "duckdb", "postgres"},
        description=mart.description,
        code_version=code_version(),
        # Nothing is materialised where the engines differ.
        skippable=True,
        metadata={
            "model": f"dbt_project/models/marts/{mart.name}.sql",
            "key": ", ".join(mart.key),
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(
                        c.name,
                        c.sql_type,
                        c.description,
                        dg.TableColumnConstraints(nullable=c.nullable),
                    )
                    for c in mart.columns
                ]
            ),
        },
        tags={"team": OWNER.removeprefix("team:"), "stage": GROUP},
    )


def _judged(comparison: Comparison) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "rows": comparison.rows,
        "rows_differing": comparison.rows_differing,
    }
    if comparison.first:
        lines = ["| key | column | DuckDB | Postgres |", "| --- | --- | --- | --- |"]
        lines += [f"| {d.key} | {d.column} | {d.lake} | {d.warehouse} |" for d in comparison.first]
        metadata["first differences"] = dg.MetadataValue.md("\n".join(lines))
    return dg.AssetCheckResult(
        asset_key=_key(comparison.mart),
        check_name=CHECK,
        passed=comparison.agrees,
        metadata=metadata,
    )
