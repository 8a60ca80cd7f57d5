"""A break worked from its first day to its last by the command, file by file, run by run."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack

import polars as pl
import pytest

from tests.cli.told import Acme, Told
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D0, D1, D2, D3, D4, D5, Scenario

pytestmark = pytest.mark.xdist_group("cli_breaks")
HELD = ("EQ,10.0000", "USD,5.00")


@pytest.fixture
def opened(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return an installation on whose first date NORTH states one unit of EQ too few."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in (*VARIABLES, "ACME_USER"):
            patch.setenv(name, "")
        url = stack.enter_context(copy_of(postgres_url, template_database))
        scenario = Scenario(tmp_path_factory.mktemp("breaks") / "home", url)
        scenario.reference({"A": "SELF"}, {"A": {"EQ": "10", "USD": "5.00"}})
        scenario.statement("s0", "NORTH", D0, "EQ,9.0000", "USD,5.00")
        scenario.run(D1)
        yield scenario
        scenario.close()


def listed(acme: Acme, *arguments: str) -> list[dict]:
    told = acme("breaks", "list", "--json", *arguments)
    assert told.code == 0, told.err
    found: list[dict] = json.loads(told.out)
    return found


def refused(told: Told, *texts: str) -> None:
    assert told.code == 1
    assert "Traceback" not in told.err
    for text in texts:
        assert text in told.err


def _told_by_status(acme: Acme, name: str) -> None:
    status = json.loads(acme("status", "--json").out)
    assert status["suspended_assets"] == ["EQ"]
    assert status["suspended_by"] == [{"asset_id": "EQ", "since": str(D1), "break_id": name}]
    assert status["open_breaks_by_age_in_business_days"] == {"0-1": 1}
    assert status["to_ask_custodians_about"] == []
    assert f"EQ {D1} {name}" in acme("status").out


def test_the_life_of_a_break(acme: Acme, opened: Scenario) -> None:
    (found,) = listed(acme)
    name = found["break_id"]
    assert (found["class"], found["asset_id"], found["difference"]) == (
        "quantity",
        "EQ",
        "-1.000000",
    )
    assert (found["state"], found["suspended"], found["waiting"]) == ("open", True, [])
    _told_by_status(acme, name)

    # What cannot be done is refused at once, and nothing is recorded.
    refused(acme("breaks", "close", name, "--by", "bob"), "only a corrected break is closed")
    refused(
        acme("breaks", "correct", name, "--by", "bob", "--comment", "x"), "a whole statement that"
    )
    refused(acme("breaks", "explain", "0" * 16, "--by", "ann", "--comment", "x"), "no such break")
    assert listed(acme)[0]["waiting"] == []

    told = acme("breaks", "explain", name, "--by", "Ann", "--comment", "NORTH lost\na unit")
    assert told.code == 0
    assert "1 recorded in break_actions_" in told.out
    again = acme("breaks", "explain", name, "--by", "Ann", "--comment", "NORTH lost a unit")
    assert (again.code, again.out.strip()) == (0, f"{name}: explain is recorded already")
    early = ("--comment", "NORTH lost a unit", "--at", "1999-01-01T00:00:00Z")
    told = acme("breaks", "explain", name, "--by", "Ann", *early)
    assert (told.code, "the time given now has no effect" in told.out) == (0, True)
    assert acme("breaks", "assign", name, "--to", "team:custody", "--by", "eve").code == 0
    (waits,) = listed(acme)
    assert (waits["state"], waits["waiting"]) == ("open", ["explain", "assign"])
    # What waits counts when the next one is judged.
    refused(
        acme("breaks", "explain", name, "--by", "bob", "--comment", "I too"),
        "the break is explained already, by what waits for the next run",
    )

    opened.prices(D1)
    opened.statement("s1", "NORTH", D1, "EQ,9.0000", "USD,5.00")
    opened.run(D2)
    (row,) = listed(acme)
    assert (row["state"], row["owner"], row["explained_by"]) == ("explained", "team:custody", "Ann")
    assert (row["suspended"], row["age"], row["waiting"]) == (True, 1, [])

    opened.prices(D2)
    opened.statement("s2", "NORTH", D2, *HELD)
    opened.run(D3)
    assert listed(acme) == []
    (row,) = listed(acme, "--all")
    assert (row["state"], row["suspended"]) == ("corrected", False)
    assert json.loads(acme("status", "--json").out)["breaks_to_close"] == 1

    refused(acme("breaks", "close", name, "--by", " ann"), "ann explained or corrected it")
    # The file itself is no way round: the run judges again.
    opened.land("break_actions", f"forged,{name},close,ANN,2024-03-06T10:00:00Z,,")
    opened.prices(D3)
    opened.statement("s3", "NORTH", D3, *HELD)
    opened.run(D4)
    assert listed(acme, "--all")[0]["state"] == "corrected"

    assert acme("breaks", "close", "--all-matching", "--yes", "--by", "bob").code == 0
    opened.prices(D4)
    opened.statement("s4", "NORTH", D4, *HELD)
    opened.run(D5)
    assert listed(acme, "--state", "closed")[0]["break_id"] == name

    _told_from_end_to_end(acme, name)


def _told_from_end_to_end(acme: Acme, name: str) -> None:
    shown = json.loads(acme("breaks", "show", name, "--json").out)
    assert [day["state"] for day in shown["days"]] == [
        "open",
        "explained",
        "corrected",
        "corrected",
        "closed",
    ]
    # By the time they give, whenever a run took them.
    assert [(a["actor"], a["action"], a["outcome"], a["reason"]) for a in shown["actions"]] == [
        ("ANN", "close", "refused", "four_eyes"),
        ("Ann", "explain", "applied", None),
        ("eve", "assign", "applied", None),
        ("bob", "close", "applied", None),
    ]
    assert shown["actions"][1]["comment"] == "NORTH lost a unit"
    told = acme("breaks", "show", name)
    assert "UTC  Ann  explain: NORTH lost a unit [explained, run of 2024-03-05]" in told.out
    assert "ANN  close [refused, four_eyes, run of" in told.out

    rows = list(csv.DictReader(io.StringIO(acme("breaks", "export").out)))
    assert [(r["break_id"], r["state"], r["action"], r["outcome"]) for r in rows] == [
        (name, "closed", "explain", "applied"),
        (name, "closed", "assign", "applied"),
        (name, "closed", "close", "refused"),
        (name, "closed", "close", "applied"),
    ]


def test_many_at_once(
    acme: Acme, opened: Scenario, tmp_path_factory: pytest.TempPathFactory
) -> None:
    opened.prices(D1)
    opened.statement("s1", "NORTH", D1, "EQ,9.0000", "USD,6.00", "ZZ,1")
    opened.run(D2)
    names = [row["break_id"] for row in listed(acme)]
    assert len(names) == 3
    # Filters part them.
    assert len(listed(acme, "--asset", "EQ")) == 1
    assert len(listed(acme, "--class", "missing_in_ledger")) == 1
    assert listed(acme, "--owner", "team:custody") == listed(acme, "--book", "canary") == []
    assert len(listed(acme, "--custodian", "NORTH", "--state", "open")) == 3

    assert acme("breaks", "explain", names[0], "--by", "ann", "--comment", "seen").code == 0
    bulk = ("breaks", "explain", *names, "--by", "ann", "--comment", "all of it")
    refused(acme(*bulk), f"{names[0]}: explain refused", "nothing recorded; --skip-refused")
    told = acme(*bulk, "--skip-refused")
    assert told.code == 3
    assert "2 recorded in" in told.out
    assert [row["waiting"] for row in listed(acme)] == [["explain"]] * 3

    for wrong in (
        ("breaks", "explain", "--by", "ann", "--comment", "x"),
        ("breaks", "explain", names[0], "--all-matching", "--by", "ann", "--comment", "x"),
        ("breaks", "explain", names[0], "--by", "ann"),
        ("breaks", "assign", names[0], "--by", "ann"),
    ):
        assert acme(*wrong).code == 2
    refused(acme("breaks", "comment", "b;d", "--by", "ann", "--comment", "x"), "no such break")
    refused(acme("breaks", "comment", names[0], "--by", "a;b", "--comment", "x"), "actor")
    refused(acme("breaks", "show", "0" * 16), "no break")
    target = tmp_path_factory.mktemp("out") / "breaks.parquet"
    assert acme("breaks", "export", "--format", "parquet", "--out", target).code == 0
    assert pl.read_parquet(target).height == 3


def test_who_came_too_late_to_explain_does_not_close(opened: Scenario, acme: Acme) -> None:
    name = listed(acme)[0]["break_id"]
    assert acme("breaks", "explain", name, "--by", "Alice", "--comment", "late fill").code == 0
    opened.prices(D1)
    opened.statement("s1", "NORTH", D1, *HELD)
    opened.run(D2)
    (row,) = listed(acme, "--all")
    assert (row["state"], row["explained_by"]) == ("corrected", "Alice")
    refused(acme("breaks", "close", name, "--by", "alice "), "explained or corrected it, or tried")
    assert acme("breaks", "close", name, "--by", "bob").code == 0
    refused(
        acme("breaks", "close", name, "--by", "eve"),
        "the break is closed, by what waits for the next run",
    )


def test_what_has_no_place_in_a_record_is_refused(opened: Scenario, acme: Acme) -> None:
    name = listed(acme)[0]["break_id"]
    remark = ("breaks", "comment", name, "--comment", "x")
    for who in ("", "   "):
        refused(acme(*remark, "--by", who), f"--by: expected a name, got {who!r}")
    refused(acme(*remark, "--by", "bob", "--at", "2999-01-01T00:00:00Z"), "--at: expected an")
    refused(acme(*remark[:-1], "a\u202eb", "--by", "bob"), "--comment: expected text that shows")
    for to in ("team:", "team: ", " "):
        refused(acme("breaks", "assign", name, "--to", to, "--by", "bob"), "--to: expected team:")
    refused(acme("breaks", "close", "--all-matching", "--yes", "--by", "bob"), "no break matches")
    assert listed(acme)[0]["waiting"] == []

    assert (
        acme("breaks", "comment", name, "--comment", "=cmd|' /C calc'!A0", "--by", "eve").code == 0
    )
    opened.run(D2)
    rows = csv.DictReader(io.StringIO(acme("breaks", "export").out))
    (row,) = [r for r in rows if r["break_id"] == name]
    assert (row["comment"], row["difference"]) == ("'=cmd|' /C calc'!A0", "-1.000000")
    assert listed(acme, "--all")[0]["explained_by"] is None


def test_the_same_action_id_with_other_values_is_held_alone(opened: Scenario, acme: Acme) -> None:
    (row,) = listed(acme)
    line = f"a1,{row['break_id']},comment,ann,2024-03-05T10:00:00Z,,"
    opened.land("break_actions", f"{line}one")
    opened.run(D2)
    opened.land(
        "break_actions", f"{line}two", f"a2,{row['break_id']},comment,ann,2024-03-06T10:00:00Z,,x"
    )
    opened.run(D3)
    shown = json.loads(acme("breaks", "show", row["break_id"], "--json").out)
    assert [a["comment"] for a in shown["actions"]] == ["one", "x"]
    assert opened.rows("quarantined_rows", D3, "feed", "key", "rule") == [
        ("break_actions", "a1", "action_changed")
    ]


def test_nothing_published_is_a_message(
    acme: Acme,
    tmp_path_factory: pytest.TempPathFactory,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACME_HOME", str(tmp_path_factory.mktemp("empty") / "home"))
    monkeypatch.setenv("ACME_POSTGRES_URL", database)
    assert acme("init", "--currency", "USD").code == 0
    assert acme("breaks", "list").code == acme("breaks").code == 0
    for verb in (
        ("show", "0" * 16),
        ("explain", "0" * 16, "--comment", "x"),
        ("export",),
    ):
        refused(acme("breaks", *verb), "no date is published yet")
