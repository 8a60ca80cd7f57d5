"""Re-balancing pot range by pot range, so that memory does not grow with the number of pots."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from acme.domain import rebalancing

POT = ["book", "pot_id"]
# Beyond some 100,000 pots of five assets a whole range no longer stays near the processor.
POTS_PER_RANGE = 125_000


def ranges(
    pots: pl.DataFrame, frames: list[pl.DataFrame], pots_per_range: int
) -> Iterator[tuple[pl.DataFrame, list[pl.DataFrame]]]:
    """Yield `pots` in ranges of consecutive (book, pot_id), each with its rows of `frames`.

    Raises `ValueError` for a range of no pots.
    """
    if pots_per_range < 1:
        raise ValueError(f"a range has at least one pot, not {pots_per_range}")
    ordered = pots.sort(POT)
    if ordered.height <= pots_per_range:
        yield ordered, frames
        return
    for start in range(0, ordered.height, pots_per_range):
        part = ordered.slice(start, pots_per_range)
        yield (
            part,
            [frame.join(part, on=POT, how="semi", maintain_order="left") for frame in frames],
        )


def rebalance(
    pots: pl.DataFrame,
    balances: pl.DataFrame,
    orders: pl.DataFrame,
    profiles: rebalancing.Profiles,
    market: rebalancing.Market,
    pots_per_range: int,
) -> rebalancing.Result:
    """Return what `acme.domain.rebalancing.rebalance` returns, however many ranges there are."""
    results = [
        rebalancing.rebalance(part, held, waiting, profiles, market)
        for part, (held, waiting) in ranges(pots, [balances, orders], pots_per_range)
    ]
    return rebalancing.Result(
        pl.concat([result.decisions for result in results]),
        pl.concat([result.trades for result in results]),
    )
