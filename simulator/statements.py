"""A custodian's statement of what it holds at a close; sometimes wrong, sometimes in two pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from simulator.draws import draws
from simulator.scheme import ASSETS, CURRENCY, Row, minor, written

BASIS = "settled"
_OFF_BY = "1.2500"
_TWO_PAGES_ONE_IN = 4


def statement_rows(
    seed: int, custodian_id: str, day: date, holdings: Mapping[str, int], *, wrong: bool
) -> list[Row]:
    """Rows of the feed ``statements``: every holding other than zero, by asset.

    ``wrong`` puts one holding off by 1.2500 units. Nothing held is one row without an asset.
    """
    drawn = draws(seed, "statement", custodian_id, day)
    held = {
        asset.asset_id: holdings[asset.asset_id]
        for asset in ASSETS.values()
        if asset.custodian_id == custodian_id and holdings[asset.asset_id]
    }
    funds = [asset_id for asset_id in held if asset_id != CURRENCY]
    if wrong and funds:
        chosen = funds[drawn[0] % len(funds)]
        held[chosen] += minor(_OFF_BY, chosen) * (1 if drawn[1] % 2 else -1)
    lines = [(asset_id, written(units, asset_id)) for asset_id, units in held.items()]
    lines = lines or [("", "")]
    pages = 2 if len(lines) > 1 and drawn[2] % _TWO_PAGES_ONE_IN == 0 else 1
    statement_id = f"{custodian_id}-{day}-{BASIS}"
    return [
        (
            statement_id,
            custodian_id,
            day.isoformat(),
            BASIS,
            str(1 + number * pages // len(lines)),
            str(pages),
            *line,
        )
        for number, line in enumerate(lines)
    ]
