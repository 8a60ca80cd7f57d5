"""Contracts: valid ODCS, exact schemas, strict enforcement, a stable content hash."""

import hashlib
import random
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from odcs_schema import ODCS_SCHEMA

from acme.lakehouse import contract_docs, contracts, hashing
from acme.lakehouse.contracts import Contract, ContractError, ContractViolation

# Names alone: a file that cannot be read fails its own tests and nobody else's.
EVERYTHING = contracts.datasets()
RUN_DATE = date(2020, 1, 2)


def _document(contract: Contract) -> dict[str, Any]:
    path = contracts.contract_path(contract.schema_name, contract.name)
    document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return document


# ---- the files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", EVERYTHING)
def test_the_file_is_valid_odcs(dataset: str) -> None:
    contract = contracts.of(dataset)
    jsonschema.Draft202012Validator(ODCS_SCHEMA).validate(_document(contract))


@pytest.mark.parametrize("dataset", EVERYTHING)
def test_the_file_is_whole(dataset: str) -> None:
    contract = contracts.of(dataset)
    document = _document(contract)
    assert document["id"] == contract.dataset
    assert contract.retention_years >= 6
    assert contract.owner
    assert len(set(contract.column_names)) == len(contract.columns)
    for column in contract.columns:
        if column.is_decimal:
            assert column.unit, f"{contract.dataset}.{column.name} says no unit"
            assert f"{column.scale} decimals" in column.description
    if contract.schema_name == "feed":
        assert document["schema"][0]["physicalType"] == "file"
    else:
        assert document["schema"][0]["physicalName"] == contract.dataset
        assert contract.column_names[0] == contract.key[0] == "run_date"


def test_every_file_belongs_to_a_dataset() -> None:
    found = set(contracts.FOLDER.rglob("*.yaml"))
    named = [dataset.split(".") for dataset in EVERYTHING]
    assert found == {contracts.contract_path(schema, name) for schema, name in named}


def test_the_lake_tables_of_the_public_interface_are_there() -> None:
    core = {item.name for item in contracts.all_tables() if item.schema_name == "core"}
    assert core >= {
        "landed_files",
        "run_inputs",
        "holds",
        "holidays",
        "assets",
        "risk_profiles",
        "risk_profile_parameters",
        "pots",
        "orders",
        "order_events",
        "closing_prices",
        "confirmations",
        "statements",
        "rebalancing_trades",
        "rebalancing_decisions",
        "dealing_batches",
        "batch_lines",
        "instructions",
        "cash_movements",
        "allocations",
        "ledger_journals",
        "ledger_postings",
        "ledger_balances",
        "reconciliation_breaks",
        "suspended_assets",
        "check_results",
        "publications",
    }


def test_feed_columns_are_those_of_the_public_interface() -> None:
    feeds = map(contracts.feed, contracts.FEED_ORDER)
    headers = {item.name: ",".join(item.column_names) for item in feeds}
    assert headers == {
        "holidays": "calendar_id,holiday,name",
        "assets": "asset_id,name,currency,custodian_id,calendar_id,unit_decimals,settlement_days,"
        "stress,price_limit,valid_from",
        "risk_profiles": "risk_profile_id,asset_id,weight,valid_from",
        "risk_profile_parameters": "risk_profile_id,drift_band,cash_band,min_trade,schedule,"
        "valid_from",
        "pots": "pot_id,member_ref,risk_profile_id,book,opened_on",
        "opening_positions": "as_of,pot_id,asset_id,units",
        "closing_prices": "price_date,asset_id,currency,closing_price",
        "orders": "source,source_ref,received_at,pot_id,kind,asset_id,to_asset_id,units,amount,"
        "risk_profile_id",
        "cancellations": "source,source_ref,cancelled_at",
        "confirmations": "confirmation_id,instruction_id,event,event_date,units,price,"
        "consideration,settlement_date,amends",
        "statements": "statement_id,custodian_id,statement_date,basis,page,pages,asset_id,units",
        "journal_sources": "source,kind,valid_from,valid_to,owner",
        "journals": "source,journal_ref,line,book,kind,event_time,account,asset_id,quantity,"
        "reverses,reverses_run_date,description",
        "break_actions": "action_id,break_id,action,actor,acted_at,assignee,comment",
    }


def test_an_unknown_dataset_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match=r"core\.nothing"):
        contracts.table("core", "nothing")
    with pytest.raises(ContractError, match="no schema 'mart'"):
        contracts.table("mart", "orders")
    with pytest.raises(ContractError, match=r"feed\.\.\./orders"):
        contracts.feed("../orders")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: item["schema"][0]["properties"][0].update(physicalType="DOUBLE"), "DOUBLE"),
        (lambda item: item["schema"][0]["properties"][1].update(primaryKeyPosition=7), "count"),
        (lambda item: item["schema"][0]["properties"][0].update(required=False), "required"),
        (
            lambda item: item["schema"][0]["properties"][0].update(physicalType="MONEY"),
            "column run_date: physicalType: expected one of VARCHAR, DATE, .*, got MONEY",
        ),
        (
            lambda item: item["schema"][0]["properties"][1].pop("description"),
            "column book: expected description, got none",
        ),
        (lambda item: item.update(name="other"), "as the file is called"),
        (lambda item: item.update(slaProperties=[]), "retention"),
        (
            lambda item: item["schema"][0]["properties"][-1].update(
                logicalTypeOptions={"minimum": 0.1}
            ),
            "whole number",
        ),
    ],
)
def test_a_contract_that_cannot_be_used_is_refused(change: Any, message: str) -> None:
    document = _document(contracts.table("core", "suspended_assets"))
    change(document)
    with pytest.raises(ContractError, match=message):
        contracts.parse(document, "core", "suspended_assets")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "physicalType: DATE",
            "physicalType: MONEY",
            "column run_date: physicalType: expected one",
        ),
        ("name: suspended_assets\n", "name: [\n", "expected YAML: "),
        ("\nversion: ", "\nversions: ", "expected version, got none"),
        ("\nschema:\n", "\nschema:\n- x\nother:\n", "expected an ODCS contract"),
        ("\nteam:\n", "\nteam: x\nother:\n", "expected an ODCS contract, got lists, mappings"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, told: str
) -> None:
    text = contracts.contract_path("core", "suspended_assets").read_text("utf-8")
    assert before in text
    folder = tmp_path / "data_contracts"
    (folder / "finance").mkdir(parents=True)
    changed = text.replace(before, after)
    (folder / "finance" / "suspended_assets.odcs.yaml").write_text(changed, "utf-8")
    monkeypatch.setattr(contracts, "FOLDER", folder)
    contracts._load.cache_clear()
    with pytest.raises(ContractError) as caught:
        contracts.of("finance.suspended_assets")
    assert str(caught.value).startswith("data_contracts/finance/suspended_assets.odcs.yaml: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "finance.suspended_assets" in contracts.datasets()


# ---- schemas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", EVERYTHING)
def test_the_schemas_agree(dataset: str) -> None:
    contract = contracts.of(dataset)
    empty = contract.enforce(contract.empty())
    assert dict(empty.schema) == dict(contract.polars_schema)
    arrow = empty.to_arrow().cast(contract.arrow_schema)
    assert dict(pl.DataFrame(pl.from_arrow(arrow)).schema) == dict(contract.polars_schema)
    sql = contract.create_table_sql()
    for column in contract.columns:
        null = "" if column.nullable else " NOT NULL"
        assert f'"{column.name}" {column.sql_type}{null}' in sql


# ---- enforcement --------------------------------------------------------------------------------


def _property(name: str, sql_type: str, **more: Any) -> dict[str, Any]:
    required = more.pop("required", True)
    return {
        "name": name,
        "physicalType": sql_type,
        "required": required,
        "description": name,
        **more,
    }


def _key(position: int) -> dict[str, Any]:
    return {"primaryKey": True, "primaryKeyPosition": position}


# A contract with every type and every kind of check, whatever the real ones come to hold.
SAMPLE = contracts.parse(
    {
        "name": "sample",
        "version": "1.0.0",
        "team": {"name": "tests"},
        "description": {"purpose": "p", "usage": "u", "limitations": "l"},
        "slaProperties": [{"property": "retention", "value": 6, "unit": "y"}],
        "schema": [
            {
                "name": "sample",
                "dataGranularityDescription": "g",
                "properties": [
                    _property("run_date", "DATE", **_key(1)),
                    _property("name", "VARCHAR", **_key(3)),
                    _property(
                        "book",
                        "VARCHAR",
                        **_key(2),
                        quality=[
                            {
                                "type": "library",
                                "metric": "invalidValues",
                                "arguments": {"validValues": ["live", "canary"]},
                                "mustBe": 0,
                            }
                        ],
                    ),
                    _property(
                        "digest",
                        "VARCHAR",
                        logicalTypeOptions={"pattern": "^[0-9a-f]{4}$", "maxLength": 4},
                    ),
                    _property(
                        "amount", "DECIMAL(18,6)", logicalTypeOptions={"exclusiveMinimum": 0}
                    ),
                    _property(
                        "weight", "DECIMAL(9,8)", logicalTypeOptions={"minimum": 0, "maximum": 1}
                    ),
                    _property("value", "DECIMAL(18,2)", required=False),
                    _property("count", "INTEGER", logicalTypeOptions={"exclusiveMaximum": 100}),
                    _property("row", "BIGINT", logicalTypeOptions={"minimum": 1}),
                    _property("event_time", "TIMESTAMPTZ"),
                    _property("passed", "BOOLEAN"),
                    _property("note", "VARCHAR", required=False),
                    _property("remark", "VARCHAR", required=False),
                    _property(
                        "known_at",
                        "TIMESTAMPTZ",
                        customProperties=[{"property": "hashed", "value": False}],
                    ),
                ],
            }
        ],
    },
    "core",
    "sample",
)


def sample(count: int = 3) -> pl.DataFrame:
    """Valid rows of the sample contract, in key order."""
    rows = [
        {
            "run_date": RUN_DATE,
            "name": f"row {number:09}",
            "book": "live",
            "digest": "00af",
            "amount": Decimal("10.25"),
            "weight": Decimal("0.5"),
            "count": 7,
            "row": number + 1,
            "event_time": datetime(2020, 1, 2, 9, tzinfo=UTC) + timedelta(microseconds=number),
            "passed": number % 2 == 0,
            "known_at": datetime(2020, 1, 3, tzinfo=UTC),
        }
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema=SAMPLE.polars_schema)


def test_enforce_orders_rows_and_columns() -> None:
    frame = sample(20)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3).select(reversed(frame.columns))
    assert SAMPLE.enforce(shuffled).equals(frame)
    assert SAMPLE.enforce(frame).columns == list(SAMPLE.column_names)


def test_rows_are_ordered_by_the_key_in_its_own_order() -> None:
    frame = sample(2).with_columns(book=pl.Series(["live", "canary"]))
    assert SAMPLE.enforce(frame).get_column("book").to_list() == ["canary", "live"]


def test_strings_are_ordered_by_their_bytes() -> None:
    names = ["Ä", "a", "Z", "\U0001f600", "", "z", "\uffff"]
    frame = sample(len(names)).with_columns(name=pl.Series(names))
    ordered = SAMPLE.enforce(frame).get_column("name").to_list()
    assert ordered == sorted(names, key=lambda name: name.encode())


@pytest.mark.parametrize(
    ("change", "rule", "column", "expected", "got"),
    [
        ({"drop": "row"}, "missing_column", "row", "columns run_date", "none"),
        ({"colour": pl.lit("red")}, "unknown_column", "colour", "no such column", "colour"),
        ({"row": pl.col("row").cast(pl.Int32)}, "type", "row", "Int64", "Int32"),
        (
            {"amount": pl.col("amount").cast(pl.Decimal(18, 2))},
            *("type", "amount", "scale=6", "scale=2"),
        ),
        ({"amount": pl.col("amount").cast(pl.Float64)}, "type", "amount", "Decimal", "Float64"),
        (
            {"event_time": pl.col("event_time").dt.replace_time_zone(None)},
            *("type", "event_time", "UTC", "time_zone=None"),
        ),
        ({"digest": pl.lit(None, pl.String)}, "required", "digest", "a value", "None"),
        ({"book": pl.lit("test")}, "enum", "book", "'live', 'canary'", "'test'"),
        ({"digest": pl.lit("00AF")}, "pattern", "digest", "0-9a-f", "00AF"),
        (
            {"amount": (pl.col("amount") - pl.col("amount")).cast(pl.Decimal(18, 6))},
            *("bounds", "amount", "> 0", "0.000000"),
        ),
        ({"row": pl.lit(0, pl.Int64)}, "bounds", "row", ">= 1", "0"),
        ({"count": pl.lit(100, pl.Int32)}, "bounds", "count", "< 100", "100"),
        ({"name": pl.lit("same")}, "duplicate_key", None, "one row per", "2 more rows"),
    ],
)
def test_enforce_names_what_is_wrong(
    change: dict[str, Any], rule: str, column: str | None, expected: str, got: str
) -> None:
    frame = sample()
    frame = frame.drop(change["drop"]) if "drop" in change else frame.with_columns(**change)
    with pytest.raises(ContractViolation) as caught:
        SAMPLE.enforce(frame)
    error = caught.value
    assert (error.dataset, error.rule, error.column) == ("core.sample", rule, column)
    assert expected in error.expected
    assert got in error.got
    assert "core.sample" in str(error)


def test_a_violation_names_the_first_key_in_key_order() -> None:
    frame = sample(10).with_columns(
        digest=pl.when(pl.col("row").is_in([5, 8])).then(pl.lit("x")).otherwise("digest")
    )
    with pytest.raises(ContractViolation) as caught:
        SAMPLE.enforce(frame.reverse())
    assert caught.value.key == {"run_date": RUN_DATE, "book": "live", "name": "row 000000004"}


@pytest.mark.parametrize(
    ("text", "is_fine"),
    [("0", True), ("1", True), ("1.00000001", False), ("-0.00000001", False), ("0.5", True)],
)
def test_bounds_are_exact(text: str, *, is_fine: bool) -> None:
    weight = pl.Series([Decimal(text)] * 3, dtype=pl.Decimal(9, 8))
    frame = sample().with_columns(weight=weight)
    if is_fine:
        SAMPLE.enforce(frame)
    else:
        with pytest.raises(ContractViolation, match="bounds"):
            SAMPLE.enforce(frame)


# ---- content hash -------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\\\t\n\rN"), max_size=6)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": TEXTS,
            "book": st.sampled_from(["live", "canary"]),
            "amount": st.decimals("0.000001", "999999999999.999999", places=6),
            "value": st.none() | st.decimals("-9999.99", "9999.99", places=2),
            "passed": st.booleans(),
            "event_time": st.datetimes(
                # Hypothesis wants its bounds without a zone.
                datetime(1900, 1, 1),  # noqa: DTZ001
                datetime(2100, 1, 1),  # noqa: DTZ001
                timezones=st.just(UTC),
            ),
            "note": st.none() | TEXTS,
        }
    ),
    unique_by=lambda row: (row["name"], row["book"]),
    max_size=5,
)


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    common = sample(1).row(0, named=True)
    return pl.DataFrame([{**common, **row} for row in rows], schema=SAMPLE.polars_schema)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms())
def test_the_hash_does_not_depend_on_row_order(
    rows: list[dict[str, Any]], chance: random.Random
) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert hashing.content_hash(SAMPLE, frame_of(rows)) == hashing.content_hash(
        SAMPLE, frame_of(shuffled)
    )


@settings(max_examples=100, deadline=None)
@given(ROWS, ROWS)
def test_other_rows_have_another_hash(
    rows: list[dict[str, Any]], others: list[dict[str, Any]]
) -> None:
    def keyed(items: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
        return {(row["name"], row["book"]): row for row in items}

    same_hash = hashing.content_hash(SAMPLE, frame_of(rows)) == hashing.content_hash(
        SAMPLE, frame_of(others)
    )
    assert (keyed(rows) == keyed(others)) == same_hash


@settings(max_examples=100, deadline=None)
@given(st.none() | TEXTS, st.none() | TEXTS)
def test_values_do_not_run_into_each_other(first: str | None, second: str | None) -> None:
    """Neither a separator in a value, nor a null, nor the text of the null mark is confused."""
    frames = [
        sample(1).with_columns(note=pl.lit(note, pl.String), remark=pl.lit(remark, pl.String))
        for note, remark in ((first, second), (second, first))
    ]
    hashes = {hashing.content_hash(SAMPLE, frame) for frame in frames}
    assert (len(hashes) == 1) == (first == second)


def test_the_hash_is_that_of_the_documented_text() -> None:
    frame = sample(1).with_columns(
        note=pl.lit("back\\slash\nü\t"), value=pl.lit(Decimal("-1.5")).cast(pl.Decimal(18, 2))
    )
    text = (
        "acme-content-1\tcore.sample\trun_date DATE\tname VARCHAR\tbook VARCHAR\tdigest VARCHAR"
        "\tamount DECIMAL(18,6)\tweight DECIMAL(9,8)\tvalue DECIMAL(18,2)\tcount INTEGER"
        "\trow BIGINT\tevent_time TIMESTAMPTZ\tpassed BOOLEAN\tnote VARCHAR\tremark VARCHAR\n"
        "2020-01-02\trow 000000000\tlive\t00af\t10.250000\t0.50000000\t-1.50\t7"
        "\t1\t2020-01-02T09:00:00.000000Z\ttrue\tback\\\\slash\\nü\\t\t\\N\n"
    )
    assert hashing.content_hash(SAMPLE, frame) == hashlib.sha256(text.encode()).hexdigest()


def test_columns_outside_the_hash_do_not_show_in_it() -> None:
    first = hashing.content_hash(SAMPLE, sample())
    later = sample().with_columns(known_at=pl.col("known_at") + timedelta(days=1))
    other = sample().with_columns(event_time=pl.col("event_time") + timedelta(microseconds=1))
    assert hashing.content_hash(SAMPLE, later) == first
    assert hashing.content_hash(SAMPLE, other) != first


def test_slices_do_not_show_in_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = sample(100)
    whole = hashing.content_hash(SAMPLE, frame)
    monkeypatch.setattr(hashing, "_SLICE_ROWS", 7)
    assert hashing.content_hash(SAMPLE, frame) == whole
    assert hashing.content_hash(SAMPLE, frame.head(0)) != whole


# ---- the reference page -------------------------------------------------------------------------


def test_the_page_names_every_column(tmp_path: Path) -> None:
    page = tmp_path / "datasets.md"
    assert contract_docs.main(["--check"], page) == 1
    assert contract_docs.main([], page) == 0
    assert contract_docs.main(["--check"], page) == 0
    text = page.read_text("utf-8")
    for contract in map(contracts.of, EVERYTHING):
        section = text.split(f"### {contract.dataset}\n")[1].split("\n### ")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(
            contract.column_names
        )


def test_the_committed_page_is_what_the_contracts_say() -> None:
    assert contract_docs.main(["--check"]) == 0
