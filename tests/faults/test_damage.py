"""Bytes that changed where they lie are noticed before anything is computed from them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from acme.lakehouse.lake import PartitionDamagedError
from acme.lakehouse.landing import LandedFileDamaged
from acme.lakehouse.raw_files import stored_path
from orchestration.shell import DayRefusedError
from tests.scenarios.driver import D0, D1, D2, D3, Scenario


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


@pytest.fixture
def after_one_day(scenario: Scenario) -> Scenario:
    """Return an installation with D1 published and the prices of D1 landed."""
    scenario.reference({"A": "SELF"}, {"A": {"EQ": "10", "USD": "5.00"}})
    scenario.order("1", D1, "A", "sell", asset="EQ", units="1.0000")
    scenario.run(D1)
    return scenario


def only_file(scenario: Scenario, dataset: str) -> Path:
    partition = scenario.platform.lake.manifest(D1)[dataset]
    return scenario.platform.lake.path(D1, dataset, partition)


def test_damaged_files_stop_the_day_by_name(after_one_day: Scenario) -> None:
    sha = after_one_day.prices(D1).file_sha256
    assert after_one_day.platform.control.is_published(D1)
    for dataset in ("core.ledger_balances", "stage.open_orders"):
        path = only_file(after_one_day, dataset)
        whole = path.read_bytes()
        changes: list[Callable[[bytes], bytes]] = [flip, cut, empty]
        for change in changes:
            path.write_bytes(change(whole))
            with pytest.raises(PartitionDamagedError, match=f"{dataset} of {D1}: expected SHA"):
                after_one_day.run(D2)
        path.unlink()
        with pytest.raises(PartitionDamagedError, match=f"{dataset} of {D1}: no file"):
            after_one_day.run(D2)
        path.write_bytes(whole)
    landed = stored_path(after_one_day.home.landed, sha)
    whole = landed.read_bytes()
    for change in (flip, cut):
        landed.write_bytes(change(whole))
        with pytest.raises(LandedFileDamaged, match=r"closing_prices: expected SHA-256 " + sha):
            after_one_day.run(D2)
    landed.write_bytes(whole)
    assert not after_one_day.platform.control.is_published(D2)
    assert not list(after_one_day.home.outbox.glob(f"*/{D2}"))
    after_one_day.run(D2)
    assert after_one_day.platform.control.is_published(D2)


def test_dates_run_in_order(after_one_day: Scenario) -> None:
    with pytest.raises(DayRefusedError, match=f"last published date is {D1}, so {D2} must"):
        after_one_day.run(D3)
    with pytest.raises(DayRefusedError, match=f"{D0} cannot run: the last published date is {D1}"):
        after_one_day.run(D0)
    assert after_one_day.platform.control.published_dates() == [D1]
