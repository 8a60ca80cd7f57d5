"""explain, replay and sql as commands: what they print, how they end, no traceback."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from acme.cli.main import main
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
        (("explain", "order", "a", "b", "c"), 2, "ORDER_ID"),
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
