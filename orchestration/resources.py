"""What every step of a run works with: the opened platform, and the lock that admits a day."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import dagster as dg
from pydantic import PrivateAttr

from acme.lakehouse.control import RunLock
from acme.lakehouse.platform import Platform, open_platform, wait_seconds
from orchestration.shell import Run

PARTITION_TAG = "dagster/partition"


class BusinessDay(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The run of one date. The lock is held from the first step to the end of the last.

    A second run of the date waits for the first and then finds everything written. A run that
    lost its lock can write nothing any more.
    """

    _run: Run | None = PrivateAttr(default=None)

    @property
    def run(self) -> Run:
        """Return the run."""
        if self._run is None:
            raise RuntimeError("the resource is used outside a run")
        return self._run

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["BusinessDay"]:
        """Open the platform and hold the lock of the run's date."""
        if context.run is None:
            raise RuntimeError("a business day is computed by a run of its job")
        run_date = date.fromisoformat(context.run.tags[PARTITION_TAG])
        platform = open_platform()
        with RunLock(platform.url, run_date, wait_seconds_max=wait_seconds()) as lock:
            platform.lake.fence = lock
            self._run = Run(platform, lock, run_date)
            try:
                yield self
            finally:
                platform.lake.close()


class Installation(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The opened platform, for the processes of other teams; each takes a lock of its own."""

    _platform: Platform | None = PrivateAttr(default=None)

    @property
    def platform(self) -> Platform:
        """Return the platform."""
        if self._platform is None:
            raise RuntimeError("the resource is used outside a run")
        return self._platform

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Installation"]:
        """Open the platform for the length of a run."""
        del context
        self._platform = open_platform()
        try:
            yield self
        finally:
            self._platform.lake.close()
