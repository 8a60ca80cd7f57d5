"""While a date is published, every read is all of one date or all of the next; never a mix."""

import asyncio
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from acme.gateway import published
from acme.lakehouse.lake import Lake, Partition, PartitionDamagedError
from tests.gateway.published.conftest import begin, continued, grant, serving
from tests.scenarios.driver import D0, D1, D2, Scenario

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("published")]


async def told(client: Any) -> tuple[dict[str, Any] | None, str | None]:
    answer = await client.get("/v1/pots/B")
    if answer.status_code == 404:
        return None, None
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers["etag"]


async def until(client: Any, day: object) -> dict[str, Any]:
    for _ in range(500):
        found, _ = await told(client)
        if found is not None and found["published_date"] == str(day):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"{day} never showed")


async def test_reads_see_all_of_one_date_or_all_of_the_next(scenario: Scenario) -> None:
    begin(scenario)
    key = grant(scenario, "T", ("read",), "B")
    async with serving(scenario) as served, served.client(key) as client:
        assert (await told(client))[0] is None
        scenario.run(D1)
        old = await until(client, D1)
        assert old["as_of"] == str(D0)
        continued(scenario)
        seen: list[tuple[dict[str, Any] | None, str | None]] = []
        running = threading.Thread(target=scenario.run, args=(D2,))
        running.start()

        async def read() -> None:
            while running.is_alive():
                seen.append(await told(client))

        await asyncio.gather(*(read() for _ in range(4)))
        running.join()
        new = await until(client, D2)
    assert len(seen) > 20
    assert old["positions"] != new["positions"]
    assert [a for a, _ in seen if a not in (old, new)] == []
    assert {tag for a, tag in seen if a == old}.isdisjoint({tag for a, tag in seen if a == new})
    dates = [a["published_date"] for a, _ in seen if a is not None]
    assert dates == sorted(dates)


async def test_a_date_that_is_damaged_does_not_show_until_it_is_whole(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(scenario)
    key = grant(scenario, "T", ("read",), "B")
    scenario.run(D1)
    verified, tried, twice = Lake.verified_file, [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def damaged(lake: Lake, day: date, dataset: str, partition: Partition) -> Path | None:
        if day in tried:
            loop.call_soon_threadsafe(twice.set)
        tried.append(day)
        raise PartitionDamagedError("not what was written")

    async with serving(scenario) as served, served.client(key) as client:
        await until(client, D1)
        monkeypatch.setattr(Lake, "verified_file", damaged)
        continued(scenario)
        await asyncio.to_thread(scenario.run, D2)
        await twice.wait()
        found, _ = await told(client)
        assert found is not None
        assert found["published_date"] == str(D1)
        monkeypatch.setattr(Lake, "verified_file", verified)
        await until(client, D2)
    assert set(tried) == {D2}


def test_a_damaged_file_opens_nothing(scenario: Scenario) -> None:
    begin(scenario)
    scenario.run(D1)
    publication = scenario.platform.control.last_published()
    assert publication is not None
    damage(scenario, D1, published.BALANCES)
    with pytest.raises(PartitionDamagedError, match="expected SHA-256"):
        published.open_snapshot(scenario.platform, publication)


async def test_a_file_that_is_touched_while_it_is_served_is_not_trusted(scenario: Scenario) -> None:
    begin(scenario)
    key = grant(scenario, "T", ("read",), "B")
    scenario.run(D1)
    async with serving(scenario) as served, served.client(key) as client:
        await until(client, D1)
        damage(scenario, D1, published.BALANCES)
        answer = await client.get("/v1/pots/B")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"


def damage(scenario: Scenario, day: Any, dataset: str) -> None:
    lake = scenario.platform.lake
    path = lake.path(day, dataset, lake.manifest(day)[dataset])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


async def test_before_anything_could_be_verified_reads_are_told_to_come_again(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(scenario)
    key = grant(scenario, "T", ("read",), "B")
    scenario.run(D1)
    damage(scenario, D1, published.BALANCES)
    monkeypatch.setattr(published, "FIRST_SECONDS_MAX", 60)
    async with serving(scenario) as served, served.client(key) as client:
        answer = await client.get("/v1/pots/B")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
