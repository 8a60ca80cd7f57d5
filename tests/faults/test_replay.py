"""A past date computed again: equal to the byte, or the file, row and column that differ."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from decimal import Decimal

import polars as pl
import psycopg
import pytest

from acme.lakehouse.lake import Partition, dataset_contract, encode
from acme.lakehouse.raw_files import stored_path
from assets.ledger.post import process
from orchestration.replay import (
    RecordedControl,
    Replayed,
    ReplayRefusedError,
    read_only,
    replay,
)
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D1, D2, D3, D4, Scenario

pytestmark = pytest.mark.xdist_group("replay")

DATES = (D1, D2, D3)


@pytest.fixture(scope="module")
def past(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return three published dates: orders, an execution, its settlement, a quarantined file."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in VARIABLES:
            patch.setenv(name, "")
        url = stack.enter_context(copy_of(postgres_url, template_database))
        opened = Scenario(tmp_path_factory.mktemp("replay") / "home", url)
        opened.reference({"A": "HALF", "B": "SELF"}, {"B": {"EQ": "60"}})
        opened.order("c", D1, "A", "contribution", amount="1000.00")
        opened.order("s", D1, "B", "sell", asset="EQ", units="20.0000")
        opened.run(D1)
        opened.prices(D1)
        opened.executed("1", f"B-{D1}-live-NORTH-EQ-B-U", D1, "30.0000", "10", "300.00")
        opened.land("closing_prices", f"{D1},NOBODY,USD,1", ok=False)
        opened.run(D2)
        opened.prices(D2)
        opened.order("b", D3, "B", "buy", asset="BD", amount="50.00")
        opened.run(D3)
        yield opened
        opened.close()


def state_of(scenario: Scenario) -> dict[str, str]:
    """Return a hash of every file of the home and of every row of the control schema."""
    told = {
        path.relative_to(scenario.home.root).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(scenario.home.root.rglob("*"))
        if path.is_file()
    }
    with psycopg.connect(scenario.platform.url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'control'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"SELECT t::text FROM control.{table} AS t").fetchall()
            told[table] = hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()
    return told


def again(scenario: Scenario, day: date) -> Replayed:
    return replay(scenario.platform, day)


@pytest.mark.parametrize("day", DATES)
def test_every_table_seal_and_sent_file_comes_out_the_same(past: Scenario, day: date) -> None:
    before = state_of(past)
    found = again(past, day)
    written = past.platform.lake.manifest(day)
    assert [d.text() for d in found.differences] == []
    assert found.tables == found.same_bytes == len(written)
    assert found.rows == sum(p.rows for p in written.values()) > 0
    assert found.sent_files == len(past.platform.control.dispatches(day)) == 3
    publication = past.platform.control.publication(day)
    assert publication is not None
    assert dict(found.seals) == dict(publication.seals)
    assert found.checks == past.frame("check_results", day).height
    assert state_of(past) == before


def test_a_date_that_is_not_published_is_refused(past: Scenario) -> None:
    with pytest.raises(ReplayRefusedError, match="not published"):
        again(past, D4)


@contextmanager
def published_as(scenario: Scenario, day: date, dataset: str, frame: pl.DataFrame) -> Iterator[str]:
    """Put another Parquet file in place of a published one, its manifest adjusted."""
    lake = scenario.platform.lake
    before = lake.manifest(day)[dataset]
    contract = dataset_contract(dataset)
    content = encode(contract, contract.enforce(frame))
    forged = Partition(frame.height, hashlib.sha256(content).hexdigest())
    path = lake.path(day, dataset, forged)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    record(scenario, day, dataset, forged)
    try:
        yield forged.sha256
    finally:
        record(scenario, day, dataset, before)
        path.unlink()


def record(scenario: Scenario, day: date, dataset: str, partition: Partition) -> None:
    with psycopg.connect(scenario.platform.url) as connection:
        connection.execute(
            "UPDATE control.partitions SET rows = %s, file_sha256 = %s"
            " WHERE run_date = %s AND dataset = %s",
            [partition.rows, partition.sha256, day, dataset],
        )


def test_a_flipped_value_is_named_with_its_row_and_column(past: Scenario) -> None:
    frame = past.frame("ledger_balances", D2)
    target = (pl.col("account") == "pot/B") & (pl.col("state") == "settled")
    wrong = frame.with_columns(
        pl.when(target & (pl.col("asset_id") == "EQ"))
        .then(pl.lit(Decimal("40.000001")))
        .otherwise(pl.col("quantity"))
        .cast(frame.schema["quantity"])
        .alias("quantity")
    )
    assert not wrong.equals(frame)
    with published_as(past, D2, "core.ledger_balances", wrong):
        first = again(past, D2).differences[0]
        assert (first.where, first.what, first.column) == (
            "core.ledger_balances",
            "value",
            "quantity",
        )
        assert first.key == {
            "run_date": str(D2),
            "book": "live",
            "account": "pot/B",
            "state": "settled",
            "asset_id": "EQ",
        }
        assert (first.published, first.recomputed) == ("40.000001", "40.000000")
        assert first.rows == 1
        # The date after starts from it, and says so before anything else.
        start = again(past, D3).differences[0]
        assert start.what == "start"
        assert f"core.ledger_balances of {D2}" in start.where
    assert again(past, D2).equal
    assert again(past, D3).equal


def test_a_row_too_many_and_one_too_few_are_named(past: Scenario) -> None:
    frame = past.frame("core.orders", D1)
    with published_as(past, D1, "core.orders", frame.head(1)):
        first = again(past, D1).differences[0]
        assert (first.what, first.key["order_id"]) == ("missing_row", frame["order_id"][1])
    double = pl.concat([frame, frame.head(1).with_columns(order_id=pl.lit("f" * 32))])
    with published_as(past, D1, "core.orders", double):
        first = again(past, D1).differences[0]
        assert (first.what, first.key["order_id"]) == ("extra_row", "f" * 32)


def test_a_value_outside_the_table_hash_counts_too(past: Scenario) -> None:
    frame = past.frame("dealing_batches", D2)
    wrong = frame.with_columns(pl.col("known_at") + pl.duration(microseconds=1))
    with published_as(past, D2, "core.dealing_batches", wrong):
        first = again(past, D2).differences[0]
    assert (first.where, first.column) == ("core.dealing_batches", "known_at")


@pytest.mark.parametrize("verdict", ["accepted", "quarantined"])
def test_a_changed_raw_file_is_named(past: Scenario, verdict: str) -> None:
    file = next(f for f in past.platform.control.run_inputs(D2) if f.verdict == verdict)
    path = stored_path(past.home.landed, file.file_sha256)
    whole = path.read_bytes()
    path.chmod(0o644)
    for changed in (whole.replace(b"USD", b"EUR"), None):
        if changed is None:
            path.unlink()
        else:
            path.write_bytes(changed)
        found = again(past, D2)
        assert not found.equal
        assert file.name in found.differences[0].text()
        assert file.file_sha256 in found.differences[0].text()
    path.write_bytes(whole)
    assert again(past, D2).equal


def test_a_changed_sent_file_and_seal_are_named(past: Scenario) -> None:
    with psycopg.connect(past.platform.url, autocommit=True) as connection:
        (content,) = connection.execute(
            "SELECT content FROM control.dispatches WHERE run_date = %s"
            " AND custodian_id = 'NORTH' AND file_name = 'cash.csv'",
            [D1],
        ).fetchone() or (b"",)
        (seals,) = connection.execute(
            "SELECT seals FROM control.publications WHERE run_date = %s", [D1]
        ).fetchone() or ({},)

        def put(content: bytes, seals: dict[str, str]) -> None:
            connection.execute(
                "UPDATE control.dispatches SET content = %s, sha256 = %s WHERE run_date = %s"
                " AND custodian_id = 'NORTH' AND file_name = 'cash.csv'",
                [content, hashlib.sha256(content).hexdigest(), D1],
            )
            connection.execute(
                "UPDATE control.publications SET seals = %s WHERE run_date = %s",
                [json.dumps(seals), D1],
            )

        put(content.replace(b"1000.00", b"1000.01"), {f"B-{D1}-live": "0" * 64})
        try:
            told = " ".join(d.text() for d in again(past, D1).differences)
        finally:
            put(content, seals)
    assert "sent file NORTH/cash.csv" in told
    assert f"seal of B-{D1}-live: expected {'0' * 64}" in told
    assert again(past, D1).equal


def test_other_code_than_that_of_the_day_is_noticed(
    past: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = process.run

    def wrong(day: object, inputs: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        outputs = right(day, inputs)  # type: ignore[arg-type]
        table = outputs["core.ledger_balances"]
        changed = (pl.col("quantity") + pl.lit(Decimal("0.01"))).cast(table.schema["quantity"])
        return {**outputs, "core.ledger_balances": table.with_columns(changed)}

    monkeypatch.setattr(process, "run", wrong)
    found = again(past, D2)
    assert found.differences[0].where == "core.ledger_balances"
    assert any(d.what == "check" and "second_engine_agrees" in d.where for d in found.differences)


def test_the_database_refuses_a_write_of_a_replay(past: Scenario) -> None:
    """Every session of a replay is read-only: Postgres itself refuses a write."""
    control = RecordedControl(read_only(past.platform.url))
    try:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            control.mark_sent(D1, "NORTH", "cash.csv")
    finally:
        control.close()
