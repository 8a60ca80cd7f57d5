"""Rates: a burst is absorbed, more than that is told when to come again."""

from __future__ import annotations

from pathlib import Path

import pytest

from acme.gateway.limits import REMEMBERED_MAX, Buckets, LimitError, Limits
from acme.gateway.problems import ProblemError
from tests.gateway.conftest import Served, submit


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    now = 0.0
    buckets = Buckets(10, 3, lambda: now)
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    assert buckets.wait("b") == 0
    now = 0.1
    assert buckets.wait("a") == 0
    assert buckets.wait("a") > 0
    now = 1000.0
    assert [buckets.wait("a") == 0 for _ in range(4)] == [True, True, True, False]


def test_what_is_remembered_is_bounded() -> None:
    buckets = Buckets(1, 1, lambda: 0.0)
    for n in range(REMEMBERED_MAX + 10):
        buckets.wait(str(n))
    assert len(buckets._left) == REMEMBERED_MAX


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast"])
def test_a_limit_is_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_GATEWAY_BURST", text)
    with pytest.raises(LimitError, match="ACME_GATEWAY_BURST: expected a number"):
        Limits()


def test_all_keys_together_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACME_GATEWAY_TOTAL_RATE", "1")
    monkeypatch.setenv("ACME_GATEWAY_TOTAL_BURST", "2")
    limits = Limits()
    limits.admit("a")
    limits.admit("b")
    with pytest.raises(ProblemError) as refused:
        limits.admit("c")
    assert refused.value.headers == {"Retry-After": "1"}


@pytest.mark.anyio
async def test_a_key_too_fast_gets_429_and_its_neighbour_does_not(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_GATEWAY_RATE", "1")
    monkeypatch.setenv("ACME_GATEWAY_BURST", "3")
    gateway.door.gateway.limits = Limits()
    client = await gateway.client(gateway.key())
    answers = [await submit(client, "one") for _ in range(5)]
    assert [a.status_code for a in answers[:3]] == [201, 201, 201]
    assert answers[4].status_code == 429
    assert int(answers[4].headers["retry-after"]) >= 1
    other = await gateway.client(gateway.key("OTHER"))
    assert (await submit(other, "one")).status_code == 201


@pytest.mark.anyio
async def test_failed_authentications_of_a_peer_are_few_and_its_valid_key_is_served(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_GATEWAY_FAILED_RATE", "1")
    monkeypatch.setenv("ACME_GATEWAY_FAILED_BURST", "2")
    gateway.door.gateway.limits = Limits()
    stranger = await gateway.client("acme_x")
    codes = [(await submit(stranger, "one")).status_code for _ in range(4)]
    assert codes[:2] == [401, 401]
    assert codes[3] == 429
    friend = await gateway.client(gateway.key())
    assert (await submit(friend, "one")).status_code == 201
