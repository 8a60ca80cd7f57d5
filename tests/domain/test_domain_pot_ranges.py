"""Pots cut into ranges: each row once, in order (design, What scales)."""

import polars as pl
import pytest
from domain_frames import P, T

from acme.domain import pot_ranges, rebalancing

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
EMPTY = pl.DataFrame()
PROFILES, MARKET = rebalancing.Profiles(EMPTY, EMPTY), rebalancing.Market(EMPTY, "USD", T, P)


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


@pytest.mark.parametrize("size", [1, 2, 5])
def test_what_the_ranges_come_to_is_put_together(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Re-balancing hands back the pots it was given, and their balances and orders as trades."""

    def handed_back(
        pots: pl.DataFrame, balances: pl.DataFrame, orders: pl.DataFrame, *_: object
    ) -> rebalancing.Result:
        return rebalancing.Result(pots, pl.concat([balances, orders]))

    monkeypatch.setattr(rebalancing, "rebalance", handed_back)
    result = pot_ranges.rebalance(POTS, HELD, HELD[:1], PROFILES, MARKET, size)
    assert "".join(result.decisions["pot_id"]) == "yzabc"
    assert sorted(n for n in result.trades["n"] if n != 5) == [1, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [0, -1])
def test_a_range_of_no_pots_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least one pot"):
        list(pot_ranges.ranges(POTS, [HELD], size))
