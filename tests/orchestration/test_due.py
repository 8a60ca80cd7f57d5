"""Which processes are due on a date, and in which order they run."""

from dataclasses import replace
from datetime import date

import pytest

from acme.domain.calendars import Calendar
from orchestration import due
from orchestration.specs import ProcessSpec
from tests.orchestration.folders import Folders

GOOD_FRIDAY, EASTER_MONDAY = date(2024, 3, 29), date(2024, 4, 1)
CALENDAR = Calendar(frozenset({GOOD_FRIDAY, EASTER_MONDAY}))
MAUNDY_THURSDAY = date(2024, 3, 28)


def process(folder: str, *reads: str, automation: str = "on_publication") -> ProcessSpec:
    team, name = folder.split("/")
    return ProcessSpec(folder, None, reads=reads, writes=(f"{team}.{name}",), automation=automation)


@pytest.mark.parametrize(
    ("automation", "days"),
    [
        ("on_publication", [date(2024, 3, 27), MAUNDY_THURSDAY, date(2024, 4, 2)]),
        ("month_start", [date(2024, 4, 2)]),
        ("month_end", [MAUNDY_THURSDAY]),
        ("manual", []),
    ],
)
def test_due_dates(automation: str, days: list[date]) -> None:
    spec = process("a/x", automation=automation)
    asked = [date(2024, 3, 27), MAUNDY_THURSDAY, date(2024, 4, 2)]
    assert [day for day in asked if due.is_due(spec, CALENDAR, day)] == days


def test_the_last_date_of_a_month_is_a_business_date() -> None:
    assert due.is_month_end(CALENDAR, MAUNDY_THURSDAY)
    assert not due.is_month_end(CALENDAR, GOOD_FRIDAY)
    assert not due.is_month_end(CALENDAR, date(2024, 3, 27))


def test_the_first_date_of_a_month_is_a_business_date() -> None:
    assert due.is_month_start(CALENDAR, date(2024, 4, 2))
    assert not due.is_month_start(CALENDAR, EASTER_MONDAY)
    assert not due.is_month_start(CALENDAR, date(2024, 4, 3))


def test_the_due_date_before() -> None:
    daily, monthly = process("a/x"), process("a/y", automation="month_end")
    first, day = date(2024, 2, 28), date(2024, 4, 2)
    assert due.due_before(daily, CALENDAR, day, first) == MAUNDY_THURSDAY
    assert due.due_before(monthly, CALENDAR, MAUNDY_THURSDAY, first) == date(2024, 2, 29)
    assert due.due_before(monthly, CALENDAR, date(2024, 2, 29), first) is None
    assert due.due_before(replace(daily, automation="manual"), CALENDAR, day, first) is None


def test_processes_follow_what_they_read() -> None:
    specs = [
        process("a/last", "b/middle".replace("/", ".")),
        process("a/first", "core.pots"),
        process("a/second", "a.first"),
        process("b/middle", "a.second"),
    ]
    groups, circle = due.batches(reversed(specs))
    told = [[spec.folder for spec in group] for group in groups]
    assert told == [["a/first", "a/second"], ["b/middle"], ["a/last"]]
    assert circle == []


def test_a_circle_between_teams_stops_nobody_else() -> None:
    specs = [process("a/x", "b.y"), process("b/y", "a.x"), process("c/z", "core.pots")]
    groups, circle = due.batches(specs)
    assert [[s.folder for s in group] for group in groups] == [["c/z"]]
    assert [s.folder for s in circle] == ["a/x", "b/y"]


def test_a_folder_that_cannot_be_read_hides_no_other(folders: Folders) -> None:
    folders.process("broken/x", "Calculation", "", writes=["broken.x"])
    (folders.assets / "broken/x/defs.yaml").write_text("attributes: {", "utf-8")
    known = due.everything()
    assert set(known.broken) == {"broken"}
    assert "assets/broken/x/defs.yaml" in known.broken["broken"]
    assert "member_services/valuation_statement" in known.processes
