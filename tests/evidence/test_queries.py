"""A question in SQL reads, of the lake alone, proven bytes; whatever else it asks is refused."""

from pathlib import Path

import duckdb
import pytest
from psycopg.conninfo import conninfo_to_dict

from acme.evidence.queries import QueryError, query
from acme.lakehouse.lake import PartitionDamagedError
from tests.scenarios.driver import D1, D2, D3, D4, Scenario

pytestmark = pytest.mark.xdist_group("evidence")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ; ",
        "select 1; select 2",
        "create table t as select 1",
        "delete from orders",
        "copy (select 1) to '{target}'",
        "export database '{target}'",
        "attach '{target}'",
        "set threads = 1",
        "install httpfs",
        "call pragma_version()",
    ],
)
def test_what_does_more_than_read_is_refused(told: Scenario, tmp_path: Path, text: str) -> None:
    target = tmp_path / "target"
    with pytest.raises(QueryError, match="expected"):
        query(told.platform, text.format(target=target))
    assert not target.exists()


@pytest.mark.parametrize("function", ["read_csv", "read_text", "read_blob", "glob"])
def test_no_file_outside_the_lake_is_read(told: Scenario, tmp_path: Path, function: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n", "utf-8")
    with pytest.raises(duckdb.Error, match="disabled by configuration"):
        query(told.platform, f"select * from {function}('{secret}')")


@pytest.mark.parametrize("function", ["duckdb_databases()", "duckdb_secrets()"])
def test_no_password_is_shown(told: Scenario, function: str) -> None:
    password = str(conninfo_to_dict(told.platform.url)["password"])
    assert password not in str(query(told.platform, f"select * from {function}"))


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        ("core.ledger_postings", "from core.ledger_postings limit 1"),
        ("core.ledger_postings", "from balances()"),
        ("stage.posted_postings", "select exists (from stage.posted_postings) from core.orders"),
    ],
)
def test_no_answer_comes_from_a_damaged_partition(told: Scenario, dataset: str, text: str) -> None:
    lake = told.platform.lake
    day = next(d for d in (D1, D2, D3, D4) if lake.manifest(d)[dataset].rows)
    path = lake.path(day, dataset, lake.manifest(day)[dataset])
    kept = path.read_bytes()
    path.write_bytes(kept[:50] + bytes([kept[50] ^ 1]) + kept[51:])
    try:
        with pytest.raises(PartitionDamagedError, match=f"{dataset} of {day}: expected SHA-256"):
            query(told.platform, text)
        query(told.platform, "select count(*) from core.orders")
    finally:
        path.write_bytes(kept)
