"""explain, replay and sql as commands: what they print, how they end, no traceback."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from acme.cli.main import main
from acme.lakehouse.lake import dataset_contract, encode
from tests.scenarios.driver import D1, D3, D4, Scenario

pytestmark = pytest.mark.xdist_group("evidence")


@dataclass
class Told:
    code: int
    out: str
    err: str


Acme = Callable[..., Told]


@pytest.fixture
def acme(
    told: Scenario, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Acme:
    """Return a function that runs the command as the shell does."""
    monkeypatch.setenv("ACME_HOME", str(told.home.root))
    monkeypatch.setenv("ACME_POSTGRES_URL", told.platform.url)
    monkeypatch.delenv("ACME_CLOCK", raising=False)

    def run(*arguments: object) -> Told:
        monkeypatch.setattr("sys.argv", ["acme", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return Told(code, said.out, said.err)

    return run


def test_explain_balance(acme: Acme) -> None:
    said = acme("explain", "balance", "pot/B", "--asset", "EQ")
    assert said.code == 0
    assert said.out.startswith(f"pot/B as of the close of {D3}, published with {D4}: ")
    assert "every figure proven" in said.out
    assert "orders.csv (orders), row 2: SHA-256" in said.out
    found = json.loads(acme("explain", "balance", "pot/B", "--date", D1, "--json").out)
    assert [n["sum_of_postings"] for n in found[0]["because"]] == ["100.000000", "1000.000000"]


def test_explain_order_break_and_batch(acme: Acme) -> None:
    by_reference = acme("explain", "order", "T", "sell")
    assert by_reference.code == 0
    assert "is in the sealed root: yes" in by_reference.out
    found = json.loads(acme("explain", "order", "T", "sell", "--json").out)
    assert acme("explain", "order", found[0]["order_id"]).out == by_reference.out
    breaks = json.loads(acme("breaks", "--all", "--json").out)
    wanted = next(b["break_id"] for b in breaks if b["asset_id"] == "EQ")
    assert "file" in acme("explain", "break", wanted).out
    batch = acme("explain", "batch", D1)
    assert batch.code == 0
    assert batch.out.count("seal over the orders and lines in the lake: yes") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("explain", "balance", "pot/none"), 1, "has a posting on pot/none"),
        (("explain", "balance", "pot/B", "--date", "2024-03-09"), 1, "not published"),
        (("explain", "balance", ""), 1, "expected pot/ID, custodian/ID or suspense/REASON, got ''"),
        (("explain", "balance", "pot/B", "--book", "canary"), 1, "on pot/B in the book canary"),
        (("explain", "order", "a", "b", "c"), 2, "ORDER_ID"),
        (("hash", "orders", "2031-01-01"), 1, f"is not published: published are {D1} to {D4}"),
        (("export", "orders", "--date", "2031-01-01"), 1, f"published are {D1} to {D4}"),
        (("breaks", "list", "--date", "2031-01-01"), 1, f"published are {D1} to {D4}"),
        (("breaks", "list", "--class", "nonsense"), 2, "'nonsense' is not one of 'timing'"),
        (("breaks", "list", "--asset", "NOPE"), 1, "--asset: expected one of BD, EQ"),
        (("breaks", "list", "--custodian", "NOPE"), 1, "--custodian: expected one of CANARY"),
        (("replay", "--from", D4, "--to", D1), 2, f"--from {D4} is after --to {D1}"),
        (("replay", "2024-03-09"), 1, "published"),
        (("replay",), 2, "DATE"),
        (("replay", D1, "--from", D1), 2, "DATE"),
        (("sql", "from runs()", "--as-known-at", "soon"), 2, "expected an instant"),
        (("sql", "from runs()", "--as-known-at", "2020-01-01"), 1, "nothing had been published"),
        (("sql", "delete from core.orders"), 1, "read-only"),
    ],
)
def test_what_cannot_be_done_is_a_message(
    acme: Acme, arguments: tuple[object, ...], code: int, message: str
) -> None:
    said = acme(*arguments)
    assert said.code == code
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.fixture
def tampered(told: Scenario) -> Iterator[tuple[str, str]]:
    """Let D3's postings say something else, under the name they have; the hash that is, and was."""
    dataset = "core.ledger_postings"
    lake, contract = told.platform.lake, dataset_contract(dataset)
    partition = lake.manifest(D3)[dataset]
    path = lake.path(D3, dataset, partition)
    whole = path.read_bytes()
    frame = told.frame(dataset, D3)
    other = pl.when(pl.int_range(pl.len()) == 0).then(pl.col("quantity") + 1)
    wrong = frame.with_columns(other.otherwise("quantity").cast(frame.schema["quantity"]))
    content = encode(contract, wrong)
    path.write_bytes(content)
    try:
        yield partition.sha256, hashlib.sha256(content).hexdigest()
    finally:
        path.write_bytes(whole)


def test_a_damaged_file_is_named_with_its_hashes_row_and_column(
    acme: Acme, tampered: tuple[str, str]
) -> None:
    was, now = tampered
    said = acme("replay", D3)
    assert said.code == 1
    table = f"core.ledger_postings of {D3} file SHA-256: expected {was}, got {now}"
    assert f"first {D3}: {table}" in said.err
    assert "column quantity: published " in said.out
    (found,) = json.loads(acme("replay", D3, "--json").out)
    assert found["same_bytes"] == found["tables"] - 1
    file, value = found["differences"]
    assert (file["column"], file["published"], file["recomputed"]) == ("file SHA-256", was, now)
    assert (value["column"], value["rows"], "journal_id" in value["key"]) == ("quantity", 1, True)
    assert f"got {now}" in acme("replay", D4).err


def not_ok(told: Told) -> list[str]:
    """Return what doctor says is not well; that servers of tests do not wait for the disk is."""
    checks = json.loads(told.out)
    return [c["detail"] for c in checks if not c["ok"] and not c["check"].startswith("postgres ")]


def test_a_damaged_date_is_found_and_not_vouched_for(
    acme: Acme, tampered: tuple[str, str], tmp_path: Path
) -> None:
    was, now = tampered
    said = acme("doctor", "--json")
    wrong = not_ok(said)
    text = f"core.ledger_postings of {D3}: expected SHA-256 {was}, got {now}"
    assert (said.code, wrong) == (1, [text])
    assert not_ok(acme("doctor", "--last", 1, "--json")) == []
    target = tmp_path / "evidence.zip"
    said = acme("evidence", D3, "--out", target)
    assert (said.code, text in said.err, target.exists()) == (1, True, False)
    assert acme("evidence", D4, "--out", target).code == 0


def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(
    acme: Acme, tmp_path: Path
) -> None:
    target = tmp_path / "nowhere" / "x"
    for verb in (("export", "orders"), ("evidence", D1), ("breaks", "export")):
        said = acme(*verb, "--out", target)
        assert (said.code, str(target) in said.err, ".tmp" in said.err) == (1, True, False)


def test_a_partition_is_read_into_memory_of_arrow(
    told: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    reader = pa.BufferReader

    def noted(content: object) -> pa.BufferReader:
        given.append(content)
        return reader(content)

    monkeypatch.setattr("acme.lakehouse.lake.pa.BufferReader", noted)
    assert told.frame("orders", D1).height == 2
    (content,) = given
    assert isinstance(content, pa.Buffer)


def test_replay(acme: Acme) -> None:
    said = acme("replay", D3)
    assert said.code == 0
    assert "equal" in said.out
    found = json.loads(acme("replay", "--from", D1, "--to", D4, "--sample", 2, "--json").out)
    assert [(r["equal"], r["tables"] == r["same_bytes"]) for r in found] == [(True, True)] * 2


def test_sql_as_known_at(acme: Acme) -> None:
    newest = "select max(run_date) as newest from core.ledger_postings"
    for arguments, day in (((), D4), (("--as-known-at", f"{D3}T12:00:00Z"), D3)):
        assert json.loads(acme("sql", newest, *arguments, "--json").out) == [{"newest": str(day)}]
