"""Orders over HTTP are the orders of the files, source by source, and are sent again alike."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from simulator.__main__ import main
from simulator.gateway import GatewayError, OrderGateway
from simulator.members import EMPLOYERS, PLATFORMS
from simulator.world import World

DAY = date(2020, 6, 2)
KEYS = {source: f"key-of-{source}" for source in (*EMPLOYERS, *PLATFORMS)}


class Posted:
    """Stands for `httpx.post`; answers in turn, the last for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[dict[str, str], bytes]] = []

    def __call__(self, url: str, *, content: bytes, headers: dict, timeout: object) -> Any:
        assert url == "http://gateway/v1/orders/bulk"
        self.sent.append((headers, content))
        answer = self.answers[min(len(self.sent), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, text="told")


def world(home: Path, gateway: OrderGateway | None = None) -> World:
    return World(home, 7, 400, date(2020, 6, 1), date(2020, 6, 30), gateway=gateway)


def test_the_same_orders_by_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posted = Posted(201)
    monkeypatch.setattr(httpx, "post", posted)
    sending = world(tmp_path / "a", OrderGateway("http://gateway/", KEYS))
    assert sending.orders_before(DAY) == []
    assert not (tmp_path / "a" / "inbox" / "orders").exists()
    files = world(tmp_path / "b").orders_before(DAY)
    expected = sorted(path.read_bytes() for path in files)
    assert sorted(body for _, body in posted.sent) == expected
    by_source = defaultdict(set)
    for headers, body in posted.sent:
        for row in csv.DictReader(io.StringIO(body.decode())):
            by_source[headers["Authorization"]].add(row["source"])
    assert all(by_source[f"Bearer {KEYS[s]}"] in ({s}, set()) for s in KEYS)
    first = list(posted.sent)
    sending.orders_before(DAY)
    assert posted.sent == first * 2
    assert len({headers["Idempotency-Key"] for headers, _ in first}) == len(first)


def test_busy_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.gateway.time.sleep", lambda _: None)
    row = ("S", *[""] * 9)
    posted = Posted(503, httpx.ConnectError("no"), 201)
    monkeypatch.setattr(httpx, "post", posted)
    gateway = OrderGateway("http://gateway", {"S": "k"})
    gateway.send("S", "name", [row])
    assert len(posted.sent) == 3
    monkeypatch.setattr(httpx, "post", Posted(422))
    with pytest.raises(GatewayError, match="422 told"):
        gateway.send("S", "name", [row])
    with pytest.raises(GatewayError, match="API key of T"):
        gateway.send("T", "name", [row])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posted = Posted(201)
    monkeypatch.setattr(httpx, "post", posted)
    base = ["--home", str(tmp_path), "--pots", "200", "--gateway", "http://gateway"]
    keys = [part for source, key in KEYS.items() for part in ("--key", f"{source}={key}")]
    done = CliRunner().invoke(main, [*base, *keys, "before", "2020-06-01"])
    assert done.exit_code == 0, done.output
    assert posted.sent
    assert "inbox/orders/" not in done.output
    without = CliRunner().invoke(main, [*base, "--key", "nothing", "before", "2020-06-01"])
    assert "SOURCE=KEY" in without.output
    assert without.exit_code == 2
