"""From a figure to its file: sums are exact, every step is there, damage is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import pytest

from acme.domain.orders import order_id
from acme.evidence import explain, times
from acme.evidence.explain import Books, Node, NothingToExplainError
from acme.lakehouse.raw_files import stored_path
from tests.scenarios.driver import D1, D3, D4, Scenario

pytestmark = pytest.mark.xdist_group("evidence")

SELL = order_id("T", "sell")


@contextmanager
def books(told: Scenario, run_date: date) -> Iterator[Books]:
    run = next(r for r in times.known_runs(told.platform) if r.run_date == run_date)
    with times.session(told.platform, run.known_from) as connection:
        yield Books(told.platform, connection, run)


def everything(node: Node) -> Iterator[Node]:
    yield node
    for child in node.because:
        yield from everything(child)


def of(node: Node, what: str) -> list[Node]:
    return [n for n in everything(node) if n.what == what]


@pytest.mark.parametrize("day", [D1, D4])
def test_every_account_is_explained_to_the_last_digit(told: Scenario, day: date) -> None:
    balances = told.frame("ledger_balances", day)
    accounts = balances["account"].unique().to_list()
    with books(told, day) as opened:
        nodes = {account: explain.explain_balance(opened, account) for account in accounts}
    for account, node in nodes.items():
        figures = {
            (n.facts["book"], n.facts["asset_id"], n.facts["state"]): n.facts["quantity"]
            for n in of(node, "balance")
            if n.facts["quantity"]
        }
        mine = balances.filter(account=account).select("book", "asset_id", "state", "quantity")
        assert figures == {row[:3]: row[3] for row in mine.rows()}
        assert node.holds()
        for figure in of(node, "balance"):
            listed = [Decimal(str(n.facts["quantity"])) for n in figure.because]
            assert sum(listed, Decimal(0)) == figure.facts["quantity"]


def test_a_balance_leads_to_every_file_behind_it(told: Scenario) -> None:
    with books(told, D4) as opened:
        node = explain.explain_balance(opened, "pot/B", "USD")
    runs = {(n.facts["kind"], n.facts["run_date"]) for n in of(node, "posting")}
    assert runs == {
        ("opening", str(D1)),
        ("allocation", str(D3)),
        ("reservation", str(D3)),
        ("payment", str(D3)),
        ("settlement", str(D4)),
    }
    files = {(n.facts["feed"], n.facts["row"]) for n in of(node, "file")}
    assert {f for f, _ in files} == {"opening_positions", "orders", "confirmations"}
    landed = {
        f.file_sha256: f for day in (D1, D3, D4) for f in told.platform.control.run_inputs(day)
    }
    for file in of(node, "file"):
        content = stored_path(told.home.landed, str(file.facts["file_sha256"])).read_text("utf-8")
        if str(file.facts["file_sha256"]) in landed:
            assert landed[str(file.facts["file_sha256"])].name == file.facts["name"]
        # The row is the line of the file, the header being line 1.
        row = content.splitlines()[int(str(file.facts["row"])) - 1]
        known = ("N-1,", "N-2,", "N-3,", "T,sell,", "T,out,")
        assert row.startswith(known) or ",B,USD,1000.00" in row
    (line,) = of(node, "line")
    told_of = [n.facts["confirmation_id"] for n in of(line, "confirmation")]
    assert told_of == ["N-1", "N-2", "N-3"]
    (batch,) = of(node, "batch")
    assert (batch.facts["leaf_index"], batch.facts["leaves"]) == (0, 1)
    assert batch.facts["seal"] == told.frame("dealing_batches", D1).filter(book="live")["seal"][0]


def test_an_earlier_date_is_explained_as_it_was_known(told: Scenario) -> None:
    with books(told, D1) as opened:
        node = explain.explain_balance(opened, "pot/B")
    assert {n.facts["kind"] for n in of(node, "posting")} == {"opening"}
    with books(told, D1) as opened:
        order = explain.explain_order(opened, SELL)
    assert of(order, "confirmation") == of(order, "allocation") == []


def test_an_order_is_proven_in_its_batch_and_its_journals_balance(told: Scenario) -> None:
    with books(told, D4) as opened:
        node = explain.explain_order(opened, SELL)
    states = [str(n.facts["to_state"]) for n in of(node, "state")]
    assert states == ["accepted", "batched", "placed", "executed", "settled"]
    assert [n.facts["kind"] for n in of(node, "journal")] == [
        "reservation",
        "allocation",
        "settlement",
    ]
    (proof,) = of(node, "proof")
    assert proof.facts["proven"] is True
    assert node.holds()


def test_a_break_shows_both_sides_and_its_end(told: Scenario) -> None:
    breaks = told.frame("reconciliation_breaks", D4).filter(asset_id="EQ")
    wanted = breaks.filter(reference="statement:settled")["break_id"][0]
    with books(told, D4) as opened:
        node = explain.explain_break(opened, wanted)
    seen = [(n.facts["run_date"], n.facts["state"]) for n in of(node, "seen")]
    assert seen == [(str(D3), "open"), (str(D4), "corrected")]
    assert [n.facts["units"] for n in of(node, "statement")] == ["99.000000", "60.000000"]
    assert [n.facts["quantity"] for n in of(node, "ours")] == [Decimal(100), Decimal(60)]
    assert of(node, "suspension")[0].facts["run_dates"] == [str(D3)]
    assert node.holds()


def test_a_batch_is_sealed_signed_and_chained(told: Scenario) -> None:
    with books(told, D4) as opened:
        batches = [explain.explain_batch(opened, day) for day in (D1, D3, D4)]
    for nodes in batches:
        assert [n.facts["book"] for n in nodes] == ["canary", "live"]
        for node in nodes:
            assert [n.facts["proven"] for n in of(node, "check")] == [True, True, True]


def test_what_nobody_knows_is_refused(told: Scenario) -> None:
    with books(told, D4) as opened:
        with pytest.raises(NothingToExplainError, match="pot/nobody"):
            explain.explain_balance(opened, "pot/nobody")
        with pytest.raises(NothingToExplainError, match="order"):
            explain.explain_order(opened, "0" * 32)
        with pytest.raises(NothingToExplainError, match="break"):
            explain.explain_break(opened, "0" * 16)
        with pytest.raises(NothingToExplainError, match="dealt"):
            explain.explain_batch(opened, date(2024, 3, 9))


def test_a_changed_file_is_told(told: Scenario) -> None:
    sha = str(told.frame("orders", D1).filter(order_id=SELL)["file_sha256"][0])
    path = stored_path(told.home.landed, sha)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole.replace(b"40", b"41"))
    try:
        with books(told, D4) as opened:
            node = explain.explain_order(opened, SELL)
    finally:
        path.write_bytes(whole)
    assert not node.holds()
    assert any("DOES NOT MATCH" in n.title for n in of(node, "file"))
    gone = path.rename(path.with_suffix(".gone"))
    try:
        with books(told, D4) as opened:
            node = explain.explain_order(opened, SELL)
    finally:
        gone.rename(path)
    assert not node.holds()
    assert any("IS MISSING" in n.title for n in of(node, "file"))


def test_a_figure_that_is_not_the_sum_is_told(told: Scenario) -> None:
    """A posting that the figure does not have: the sum is said, and nothing holds."""
    with books(told, D4) as opened:
        real = opened.rows

        def short(text: str, values: object = ()) -> list[explain.Row]:
            found = real(text, values)  # type: ignore[arg-type]
            return found[1:] if "MATERIALIZED" in text else found

        opened.rows = short  # type: ignore[assignment,method-assign]
        node = explain.explain_balance(opened, "pot/B", "EQ")
    assert not node.holds()
    assert any("but its" in n.title for n in of(node, "balance"))
    assert "NOT every figure" in node.title


def test_a_reversal_is_linked_both_ways() -> None:
    row = {
        "reverses": "allocation:1",
        "reversed_by": "reversal:2",
        "kind": "allocation",
        "order_id": None,
        "journal_id": "x",
    }
    titles = [n.title for n in Books.journal(object.__new__(Books), row, {}, {})]
    assert titles == ["reverses journal allocation:1", "reversed by journal reversal:2"]
