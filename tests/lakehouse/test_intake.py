"""From the inbox to landed files: every committed order once, whatever happens in between."""

import csv
import io
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest

from acme.domain.orders import order_id
from acme.lakehouse import intake
from acme.lakehouse.control import Control, Fenced, RunLock, RunOrderError
from acme.lakehouse.home import Home
from acme.lakehouse.intake import DrainError, drain, drained_files
from acme.lakehouse.raw_files import stored_path
from tests.scenarios.inbox import SOURCE, Inbox, order

D1, D2, D3 = (date(2024, 3, day) for day in (4, 5, 6))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("ACME_CLOCK", raising=False)
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def control(database: str) -> Iterator[Control]:
    opened = Control(database)
    opened.create_scheme("USD", time(12), "Europe/London")
    yield opened
    opened.close()


@pytest.fixture
def inbox(database: str) -> Iterator[Inbox]:
    opened = Inbox(database)
    yield opened
    opened.close()


def landed(home: Home, control: Control, feed: str = "orders") -> list[list[dict[str, str]]]:
    """Return the rows of every accepted file of a feed, file by file."""
    files = [f for f in control.offered_files(D3) if f.feed == feed and f.verdict == "accepted"]
    texts = [stored_path(home.landed, f.file_sha256).read_text("utf-8") for f in files]
    return [list(csv.DictReader(io.StringIO(text, newline=""))) for text in texts]


def refs(home: Home, control: Control) -> list[list[str]]:
    return [[row["source_ref"] for row in rows] for rows in landed(home, control)]


def test_orders_leave_once_in_the_order_they_came_with_their_commit_times(
    home: Home, control: Control, inbox: Inbox
) -> None:
    inbox.order("b", "P1", "contribution", amount="10")
    inbox.order('a,"x"', "P1", "sell", asset_id="EQ", units="1.5")
    drain(home, control, D1)
    (rows,) = landed(home, control)
    committed = dict(
        inbox.rows("SELECT source_ref, pg_xact_commit_timestamp(xmin) FROM intake.orders")
    )
    nothing = dict.fromkeys(["asset_id", "to_asset_id", "units", "amount", "risk_profile_id"], "")
    told = [(row, datetime.fromisoformat(row.pop("received_at"))) for row in rows]
    common = nothing | {"source": SOURCE, "pot_id": "P1"}
    assert told == [
        (
            common | {"source_ref": "b", "kind": "contribution", "amount": "10.000000"},
            committed["b"],
        ),
        (
            common | {"source_ref": 'a,"x"', "kind": "sell", "asset_id": "EQ", "units": "1.500000"},
            committed['a,"x"'],
        ),
    ]
    kept = inbox.rows("SELECT order_id, received_at, run_date FROM intake.received")
    assert set(kept) == {(order_id(SOURCE, ref), at, D1) for ref, at in committed.items()}
    assert not list(home.intake.rglob("*.csv"))


def test_a_later_date_takes_what_came_after_the_mark(
    home: Home, control: Control, inbox: Inbox
) -> None:
    drain(home, control, D1)
    assert landed(home, control) == []
    assert drained_files(control, D1) == []
    inbox.order("a", "P1", "contribution", amount="10")
    # The date has its mark: again changes nothing.
    drain(home, control, D1)
    assert landed(home, control) == []
    drain(home, control, D2)
    inbox.order("b", "P1", "contribution", amount="11")
    drain(home, control, D3)
    drain(home, control, D2)
    assert refs(home, control) == [["a"], ["b"]]
    assert inbox.rows("SELECT run_date, last_sequence FROM intake.drains ORDER BY 1") == [
        (D1, 0),
        (D2, 1),
        (D3, 2),
    ]
    with pytest.raises(RunOrderError, match="2024-03-06 has drained the inbox"):
        drain(home, control, date(2024, 3, 1))


class Crash(BaseException):
    """The process ends here."""


STEPS = [
    "intake.drain:before",
    "intake.drain:after",
    "file.write:before",
    "file.rename:before",
    "file.rename:after",
    "landing.store:before",
    "landing.store:after",
    "landing.register:before",
    "landing.register:after",
    "intake.export:after",
]


def test_a_crash_at_any_step_is_mended_by_running_again(
    home: Home, control: Control, inbox: Inbox
) -> None:
    """Each step once for the file of orders, and once for that of cancellations."""
    days = (date.fromordinal(D1.toordinal() + n) for n in range(100))
    expected = []
    for step in STEPS:
        for occurrence in (1, 2):
            day, ref = next(days), f"{step}#{occurrence}"
            inbox.order(f"{ref} a", "P1", "contribution", amount="10")
            inbox.order(f"{ref} b", "P1", "contribution", amount="11")
            assert inbox.cancel(f"{ref} b", day) == "cancelled"
            seen: Counter[str] = Counter()

            def die(name: str, step: str = step, at: int = occurrence) -> None:
                seen[name] += 1  # noqa: B023
                if name == step and seen[name] == at:  # noqa: B023
                    raise Crash

            crashed = False
            with (
                patch("acme.lakehouse.intake.reach", die),
                patch("acme.lakehouse.files.reach", die),
                patch("acme.lakehouse.landing.reach", die),
                patch("acme.lakehouse.raw_files.reach", die),
            ):
                try:
                    drain(home, control, day)
                except Crash:
                    crashed = True
            assert crashed or step.startswith("intake"), ref
            inbox.order(f"{ref} later", "P1", "contribution", amount="12")
            drain(home, control, day)
            drain(home, control, day)
            late = [f"{ref} later"] if step == "intake.drain:before" and crashed else []
            expected.append([f"{ref} a", f"{ref} b", *late])
            if not late:
                drain(home, control, next(days))
                expected.append([f"{ref} later"])
    assert refs(home, control) == expected
    cancelled = [
        row["source_ref"] for rows in landed(home, control, "cancellations") for row in rows
    ]
    assert cancelled == [f"{step}#{n} b" for step in STEPS for n in (1, 2)]


def test_what_cannot_be_landed_stops_the_date_and_stays(
    home: Home, control: Control, inbox: Inbox
) -> None:
    inbox.accept(order("a", "P1", "no_such_kind", amount="10"))
    with pytest.raises(DrainError, match=r"2024-03-04 stops.*Nothing is lost") as stopped:
        drain(home, control, D1)
    assert "no_such_kind" in str(stopped.value)
    (kept,) = home.intake.rglob("*.csv")
    assert "no_such_kind" in kept.read_text("utf-8")
    inbox.rows("UPDATE intake.orders SET kind = 'contribution' RETURNING 1")
    # The time is on record, although the row is another one now.
    drain(home, control, D1)
    assert refs(home, control) == [["a"]]


def test_a_run_that_was_overtaken_drains_nothing(
    home: Home, control: Control, inbox: Inbox, database: str
) -> None:
    inbox.order("a", "P1", "contribution", amount="10")
    with RunLock(database, D1) as lock:
        inbox.rows("UPDATE control.runs SET epoch = epoch + 1 RETURNING 1")
        with pytest.raises(Fenced):
            drain(home, control, D1, lock)
    assert inbox.rows("SELECT * FROM intake.drains") == []


def test_a_name_used_by_a_third_party_stops_nothing(
    home: Home, control: Control, inbox: Inbox
) -> None:
    dropped = home.root / f"orders-{D1}.csv"
    dropped.write_text(
        "source,source_ref,received_at,pot_id,kind,asset_id,to_asset_id,units,amount,"
        "risk_profile_id\nT,x,2024-03-04T09:00:00Z,P1,contribution,,,,5,\n",
        "utf-8",
    )
    intake.land_file(home, control, "orders", dropped)
    inbox.order("a", "P1", "contribution", amount="10")
    drain(home, control, D1)
    assert refs(home, control) == [["x"], ["a"]]


def test_a_drain_misses_nobody_who_commits_meanwhile(
    home: Home, control: Control, database: str
) -> None:
    """Writers insert without pause while dates drain: every order leaves with exactly one."""
    days = [date.fromordinal(D1.toordinal() + n) for n in range(8)]
    done = threading.Event()
    made: list[list[str]] = [[], [], []]

    def write(me: int) -> None:
        session = Inbox(database)
        for n in range(10_000):
            if done.is_set():
                break
            batch = [f"{me}-{n}-{k}" for k in range(3)]
            assert (
                session.accept(*[order(ref, "P1", "contribution", amount="1") for ref in batch])
                == ["created"] * 3
            )
            made[me] += batch
        session.close()

    writers = [threading.Thread(target=write, args=[me]) for me in range(3)]
    for writer in writers:
        writer.start()
    for day in days[:-1]:
        drain(home, control, day)
    done.set()
    for writer in writers:
        writer.join()
    drain(home, control, days[-1])
    files = refs(home, control)
    assert sum(map(bool, files)) > 1
    assert sorted(ref for file in files for ref in file) == sorted(
        ref for mine in made for ref in mine
    )
    with psycopg.connect(database) as connection:
        drained = connection.execute(
            "SELECT run_date, count(*) FROM intake.received GROUP BY 1"
        ).fetchall()
    told = {day: f.rows for day in days for f in drained_files(control, day)}
    assert told == dict(drained)


def test_of_a_cancellation_and_a_drain_exactly_one_wins(
    home: Home, control: Control, inbox: Inbox, database: str
) -> None:
    """200 tries: what the caller was told is what the files of the date say.

    Of four, one cancels after the drain, one before it, and two at the same time.
    """
    other = Inbox(database)
    told: dict[str, str] = {}
    first = D1.toordinal()
    for n in range(200):
        inbox.order(f"o{n}", "P1", "contribution", amount="1")
        at_once = n % 4 > 1
        day, start = date.fromordinal(first + n), threading.Barrier(2 if at_once else 1)

        def cancel(n: int = n, day: date = day, start: threading.Barrier = start) -> None:
            start.wait()
            told[f"o{n}"] = other.cancel(f"o{n}", day)

        def close(day: date = day, start: threading.Barrier = start) -> None:
            start.wait()
            with control.transaction() as cursor:
                intake._mark(cursor, day)

        order = (close, cancel) if n % 4 == 0 else (cancel, close)
        both = [threading.Thread(target=work) for work in order]
        for thread in both:
            thread.start()
            if not at_once:
                thread.join()
        for thread in both:
            thread.join()
    other.close()
    marks = inbox.rows("SELECT last_sequence FROM intake.drains ORDER BY run_date")
    taken = dict(
        inbox.rows(
            "SELECT o.source_ref, b.sequence FROM intake.outbox AS b"
            " JOIN intake.orders AS o USING (order_id) WHERE b.kind = 'cancellation'"
        )
    )
    assert set(told.values()) == {"cancelled", "too_late"}, Counter(told.values())
    for n, (mark,) in enumerate(marks):
        ref = f"o{n}"
        # A cancellation that won is among what its order's date takes; one that lost left nothing.
        assert (told[ref] == "cancelled") == (ref in taken), ref
        assert taken.get(ref, 0) <= mark, ref


def test_a_transaction_that_never_ends_stops_the_date_with_its_cause(
    home: Home, control: Control, inbox: Inbox, database: str
) -> None:
    with psycopg.connect(database) as stuck:
        stuck.execute("SELECT intake.enter()")
        with (
            patch("acme.lakehouse.intake._GATE_WAIT", "50ms"),
            pytest.raises(DrainError, match="has held the inbox for 50ms"),
        ):
            drain(home, control, D1)
    drain(home, control, D1)
    assert inbox.rows("SELECT run_date FROM intake.drains") == [(D1,)]
