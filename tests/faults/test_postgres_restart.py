"""Postgres ends and starts again while a date runs: a message at most, and the same tables."""

from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.faults import disturbed

POINTS = (
    "inputs.fix:after",
    "lake.catalog:before",
    "lake.catalog:after",
    "check.record:before",
    "publish.commit:before",
    "publish.commit:after",
    "dispatch.file:after",
)


@pytest.mark.parametrize("point", POINTS)
def test_a_restart_of_postgres_loses_nothing(bench: ProcessPoolExecutor, point: str) -> None:
    assert bench.submit(disturbed.play, "restarted", point).result() == []
