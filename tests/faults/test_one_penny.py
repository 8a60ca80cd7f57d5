"""A posting off by a penny, whichever process is wrong: nothing is published, nothing leaves."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from importlib import import_module

import polars as pl
import pytest

from acme.evidence import queries
from orchestration.runner import DayFailedError
from tests.scenarios.driver import D1, D2, CheckFailedError, Scenario

Frames = Mapping[str, pl.DataFrame]
PENNY = pl.lit(Decimal("0.01"))


def off_by_a_penny(frame: pl.DataFrame, column: str, asset: str | None) -> pl.DataFrame:
    """Add a penny to the first row, of an asset where one is named."""
    right = pl.lit(value=True) if asset is None else pl.col("asset_id") == asset
    first = right & (right.cast(pl.Int64).cum_sum() == 1)
    wrong = (pl.col(column) + PENNY).cast(frame.schema[column])
    return frame.with_columns(pl.when(first).then(wrong).otherwise(pl.col(column)).alias(column))


def plant(
    patch: pytest.MonkeyPatch, process: str, dataset: str, column: str, asset: str | None
) -> None:
    module = import_module(f"assets.{process}.process")
    right: Callable[[object, Frames], Frames] = module.run

    def wrong(day: object, inputs: Frames) -> Frames:
        outputs = right(day, inputs)
        return {**outputs, dataset: off_by_a_penny(outputs[dataset], column, asset)}

    patch.setattr(module, "run", wrong)


def prepare(scenario: Scenario) -> None:
    scenario.reference({"A": "HALF", "B": "SELF"}, {"B": {"EQ": "60"}})
    scenario.order("c", D1, "A", "contribution", amount="1000.00")
    scenario.order("s", D1, "B", "sell", asset="EQ", units="20.0000")


def nothing_left(scenario: Scenario, day: date) -> bool:
    control = scenario.platform.control
    return (
        not control.is_published(day)
        and control.dispatches(day) == []
        and not list(scenario.home.outbox.glob(f"*/{day}"))
    )


@pytest.mark.parametrize(
    ("process", "dataset", "column", "asset"),
    [
        ("ledger.post", "stage.posted_postings", "quantity", "USD"),
        ("ledger.post", "core.ledger_balances", "quantity", "USD"),
        ("ledger.post", "core.allocations", "consideration", None),
        ("ledger.daybook", "core.ledger_postings", "quantity", "USD"),
        ("dealing.admission", "stage.admitted_postings", "quantity", "USD"),
        ("dealing.deal", "core.batch_lines", "net", None),
    ],
)
def test_a_penny_is_found(
    scenario: Scenario, process: str, dataset: str, column: str, asset: str | None
) -> None:
    prepare(scenario)
    scenario.run(D1)
    scenario.prices(D1)
    scenario.executed("1", f"B-{D1}-live-NORTH-EQ-B-U", D1, "30.0000", "10", "300.00")
    scenario.order("c2", D2, "B", "contribution", amount="1.00")
    scenario.order("s2", D2, "B", "sell", asset="EQ", units="1.0000")
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, process, dataset, column, asset)
        with pytest.raises(CheckFailedError):
            scenario.run(D2)
    assert nothing_left(scenario, D2)
    scenario.run(D2)
    assert scenario.platform.control.is_published(D2)


def test_the_job_stops_and_dealing_waits_for_its_morning(whole: Scenario) -> None:
    """The two moments of a day as jobs: refused, proven, wrong by a penny, right."""
    prepare(whole)
    control = whole.platform.control
    with pytest.raises(DayFailedError, match="waits for its morning"):
        whole.job(D1, "dealing")
    whole.job(D1, "morning")
    assert nothing_left(whole, D1)
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, "ledger.daybook", "core.ledger_postings", "quantity", "USD")
        with pytest.raises(DayFailedError, match="journals_sum_to_zero"):
            whole.job(D1, "dealing")
    assert nothing_left(whole, D1)
    whole.job(D1, "dealing")
    assert control.is_published(D1)
    assert {(f.custodian_id, f.file_name) for f in control.dispatches(D1)} == {
        ("NORTH", "cash.csv"),
        ("NORTH", "instructions.csv"),
        ("SOUTH", "instructions.csv"),
    }
    assert control.unsent_dispatches() == []
    # The catalog has what the manifest has: DuckDB counts the same rows.
    counted = queries.query(whole.platform, "SELECT count(*) FROM ledger_postings")[1][0][0]
    assert counted == whole.frame("ledger_postings", D1).height > 0
