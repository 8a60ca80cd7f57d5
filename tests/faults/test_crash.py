"""A date that is killed, or frozen and overtaken, at a fail-point comes to the same tables.

A few of the cases that `python -m tests.faults.crash` plays, all of them on one world.
"""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from acme.lakehouse.failpoints import POINTS
from tests.faults import disturbed
from tests.faults.crash import cases, differences, main

KILLED = (
    "landing.retire:after",
    "lake.catalog:after",
    "publish.commit:after",
    "dispatch.file:after",
)
PAUSED = ("lake.catalog:before", "publish.commit:before")


def test_one_date_reaches_every_point(bench: ProcessPoolExecutor) -> None:
    reached = bench.submit(disturbed.reached).result()
    assert set(reached) == set(POINTS)


@pytest.mark.parametrize("point", KILLED)
def test_a_killed_run_is_finished_by_the_next(bench: ProcessPoolExecutor, point: str) -> None:
    assert bench.submit(disturbed.play, "killed", point).result() == []


@pytest.mark.parametrize("point", PAUSED)
def test_a_frozen_run_that_was_overtaken_is_fenced_off(
    bench: ProcessPoolExecutor, point: str
) -> None:
    assert bench.submit(disturbed.play, "paused", point).result() == []


def test_what_differs_is_named() -> None:
    expected = {"tables": {"a": "1", "b": "2"}, "catalog": ["1"], "manifest": ["1"], "state": "x"}
    assert differences(expected, expected) == []
    got = {"tables": {"a": "1", "b": "3"}, "catalog": ["1", "1"], "manifest": ["1"], "state": "x"}
    assert differences(expected, got) == [
        "tables b",
        "catalog: lost [], extra ['1']",
        "catalog and manifest name different files",
    ]


def test_a_seed_draws_the_same_cases_again() -> None:
    reached = Counter({"lake.files:before": 17, "run.admit:after": 1})
    drawn = [list(cases(seed, list(reached), reached)) for seed in range(30)]
    assert drawn == [list(cases(seed, list(reached), reached)) for seed in range(30)]
    assert {case[1][1] for case in drawn} == {1}
    assert len({case[0][1] for case in drawn}) > 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seeds", "0"),
        ("--seeds", "-1"),
        ("--workers", "0"),
        ("--full", "--points", "run.end:before"),
    ],
)
def test_a_run_of_no_case_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2
