"""What the simulated employers and platforms send is accepted, and is what their files say."""

from __future__ import annotations

import csv
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from simulator.gateway import OrderGateway
from simulator.members import EMPLOYERS, PLATFORMS
from simulator.world import World
from tests.gateway.conftest import Served

pytestmark = pytest.mark.anyio
DAY = date(2020, 6, 2)


async def test_a_simulated_day(
    gateway: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.door.gateway.event_clock = True
    gateway.door.state.answers.event_clock = True
    keys = {source: gateway.key(source) for source in (*EMPLOYERS, *PLATFORMS)}
    sent: list[tuple[dict[str, str], bytes]] = []

    def post(url: str, *, content: bytes, headers: dict[str, str], timeout: object) -> object:
        sent.append((headers, content))
        return httpx.Response(201)

    with monkeypatch.context() as patched:
        patched.setattr(httpx, "post", post)
        world(tmp_path / "a", OrderGateway("http://gateway", keys)).orders_before(DAY)
    client = await gateway.client()
    for headers, content in sent:
        answer = await client.post("/v1/orders/bulk", content=content, headers=headers)
        assert answer.status_code == 201, answer.text
    rows = [
        row
        for path in world(tmp_path / "b").orders_before(DAY)
        for row in csv.DictReader(path.read_text("utf-8").splitlines())
    ]
    expected = sorted(
        (
            row["source"],
            row["source_ref"],
            datetime.fromisoformat(row["received_at"]),
            *(row[name] or None for name in ("pot_id", "kind", "asset_id", "to_asset_id")),
            *(Decimal(row[name]) if row[name] else None for name in ("units", "amount")),
            row["risk_profile_id"] or None,
        )
        for row in rows
    )
    found = gateway.sql(
        "SELECT source, source_ref, stated_at, pot_id, kind, asset_id, to_asset_id, units, amount,"
        " risk_profile_id FROM intake.orders"
    )
    assert sorted(found) == expected
    assert len(found) > 20


def world(home: Path, gateway: OrderGateway | None = None) -> World:
    return World(home, 7, 400, date(2020, 6, 1), date(2020, 6, 30), gateway=gateway)
