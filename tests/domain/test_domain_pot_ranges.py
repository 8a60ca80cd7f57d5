"""Pots cut into ranges: each row once, in order (design, What scales)."""

import polars as pl
import pytest

from acme.domain import pot_ranges

POTS = pl.DataFrame(
    [("live", "c"), ("live", "a"), ("canary", "z"), ("live", "b"), ("canary", "y")],
    schema={"book": pl.String, "pot_id": pl.String},
    orient="row",
)
HELD = pl.DataFrame(
    [("live", "a", 1), ("canary", "z", 2), ("live", "c", 3), ("live", "a", 4), ("live", "x", 5)],
    schema={"book": pl.String, "pot_id": pl.String, "n": pl.Int64},
    orient="row",
)


@pytest.mark.parametrize(
    ("size", "pots", "rows"),
    [
        (1, ["y", "z", "a", "b", "c"], [[], [2], [1, 4], [], [3]]),
        (2, ["yz", "ab", "c"], [[2], [1, 4], [3]]),
        (4, ["yzab", "c"], [[1, 2, 4], [3]]),
        # One range is not cut at all.
        (5, ["yzabc"], [[1, 2, 3, 4, 5]]),
        (9, ["yzabc"], [[1, 2, 3, 4, 5]]),
    ],
)
def test_ranges(size: int, pots: list[str], rows: list[list[int]]) -> None:
    found = [
        ("".join(p["pot_id"]), sorted(f["n"])) for p, [f] in pot_ranges.ranges(POTS, [HELD], size)
    ]
    assert found == list(zip(pots, rows, strict=True))


def test_a_range_keeps_the_order_of_rows() -> None:
    [(_, [held]), *_] = pot_ranges.ranges(POTS, [HELD], 4)
    assert held["n"].to_list() == [1, 2, 4]


@pytest.mark.parametrize("size", [0, -1])
def test_a_range_of_no_pots_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least one pot"):
        list(pot_ranges.ranges(POTS, [HELD], size))
