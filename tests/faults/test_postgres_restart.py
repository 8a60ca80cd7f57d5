"""Postgres ends and starts again while a date runs: a message at most, and the same tables."""

from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.faults import disturbed

POINTS = (
    "inputs.fix:after",
    "lake.catalog:before",
    "lake.manifest:after",
    "check.record:before",
    "publish.commit:before",
    "publish.commit:after",
    "dispatch.file:after",
)


@pytest.mark.parametrize("point", POINTS)
def test_a_restart_of_postgres_loses_nothing(bench: ProcessPoolExecutor, point: str) -> None:
    assert bench.submit(disturbed.play, "restarted", point).result() == []


@pytest.mark.parametrize("point", ["landing.register:before", "lake.catalog:before"])
def test_the_command_goes_on_or_says_what_happened(bench: ProcessPoolExecutor, point: str) -> None:
    code, said, found = bench.submit(disturbed.restarted_command, point).result()
    assert "Traceback" not in said
    assert code == 0 or (code == 1 and "again" in said), said
    assert found == []
