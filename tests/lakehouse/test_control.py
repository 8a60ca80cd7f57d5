"""The control schema: scheme, landed files, keys, runs, locks, publication, dispatch."""

import hashlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import sqlalchemy

from acme.lakehouse.control import (
    AcceptedKeyConflict,
    CheckOutcome,
    Control,
    ControlError,
    ControlUnavailable,
    DatasetManifest,
    Dispatch,
    Fenced,
    LandedFile,
    LockTimeout,
    Publication,
    PublicationConflict,
    RunLock,
    RunOrderError,
    SchemeMismatch,
    SchemeMissing,
    Verdict,
)
from acme.lakehouse.migrate import Driver, migrate, sqlalchemy_url

MONDAY = date(2024, 3, 4)
TUESDAY = MONDAY + timedelta(days=1)
NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def control(database: str) -> Control:
    return Control(database)


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def land(
    control: Control, name: str, *, feed: str = "orders", verdict: Verdict = "accepted"
) -> LandedFile:
    return control.register_file(
        feed=feed,
        name=name,
        file_sha256=sha(name),
        size=10,
        rows=1,
        verdict=verdict,
        findings="[]",
    )


def publish(
    control: Control,
    run_date: date,
    epoch: int,
    datasets: dict[str, str],
    files: Sequence[Dispatch] = (),
) -> bool:
    return control.publish(
        run_date=run_date,
        epoch=epoch,
        manifest={name: DatasetManifest(1, sha(content)) for name, content in datasets.items()},
        seals={"live": sha("seal")},
        snapshot_id=3,
        dispatches=files,
    )


# ---- migrations ---------------------------------------------------------------------------------


def test_migrating_again_and_at_once_has_no_effect(database: str) -> None:
    Control(database).create_scheme("USD", time(12), "Europe/London")
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for done in (first.submit(migrate, database), second.submit(migrate, database)):
            done.result()
    assert Control(database).scheme().currency == "USD"


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_driver_urls_survive_a_hostile_password(database: str, driver: Driver) -> None:
    role, password = f"r{sha(database)[:8]}", "p@s:/w%?#é &"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'".encode())
    try:
        parts = urlsplit(database)
        address = f"{role}:{quote(password, safe='')}@{parts.hostname}:{parts.port}"
        url = parts._replace(netloc=address, query="application_name=a%20b").geturl()
        engine = sqlalchemy.create_engine(sqlalchemy_url(url, driver))
        with engine.connect() as opened:
            shown = opened.execute(sqlalchemy.text("SELECT current_user")).scalar_one()
            name = opened.execute(sqlalchemy.text("SHOW application_name")).scalar_one()
        engine.dispose()
        assert (shown, name) == (role, "a b")
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}".encode())


def test_a_socket_folder_stays_a_parameter() -> None:
    url = sqlalchemy_url("host=/tmp/x port=5433 dbname=acme user=acme", "psycopg2")
    assert url == "postgresql+psycopg2://acme@/acme?host=%2Ftmp%2Fx&port=5433"


# ---- scheme -------------------------------------------------------------------------------------


def test_the_scheme_is_made_once(control: Control) -> None:
    with pytest.raises(SchemeMissing, match="acme init"):
        control.scheme()
    made = control.create_scheme("USD", time(12), "Europe/London")
    assert control.create_scheme("USD", time(12), "Europe/London") == made == control.scheme()
    with pytest.raises(SchemeMismatch, match=r"currency: expected USD, got GBP; cutoff"):
        control.create_scheme("GBP", time(11, 30), "Europe/London")
    assert control.scheme() == made


@pytest.mark.parametrize(
    ("currency", "cutoff", "timezone", "named"),
    [
        ("usd", time(12), "UTC", "currency"),
        ("USD", time(12, tzinfo=UTC), "UTC", "cut-off"),
        ("USD", time(12), "Europe/Nowhere", "timezone"),
        ("USD", time(12), "../etc/passwd", "timezone"),
    ],
)
def test_an_impossible_scheme_is_refused(
    control: Control, currency: str, cutoff: time, timezone: str, named: str
) -> None:
    with pytest.raises(ControlError, match=named):
        control.create_scheme(currency, cutoff, timezone)


def test_an_absent_server_is_named() -> None:
    with pytest.raises(ControlUnavailable, match="refused"):
        Control("postgresql://acme:x@127.0.0.1:1/acme").scheme()


# ---- landed files -------------------------------------------------------------------------------


def test_the_same_bytes_again_have_no_effect(control: Control) -> None:
    first = land(control, "a.csv")
    again = control.register_file(
        feed="orders",
        name="other.csv",
        file_sha256=first.file_sha256,
        size=99,
        rows=9,
        verdict="quarantined",
        findings="[1]",
    )
    assert again == first == control.file_by_sha("orders", first.file_sha256)
    assert first.sequence == 1
    assert land(control, "a.csv", feed="statements").sequence == 2
    assert control.file_by_sha("orders", sha("never")) is None


def test_quarantined_bytes_can_be_accepted_later_once(control: Control) -> None:
    refused = land(control, "a.csv", verdict="quarantined")
    assert land(control, "a.csv", verdict="quarantined") == refused
    accepted = land(control, "a.csv")
    assert (accepted.sequence, accepted.verdict) == (2, "accepted")
    assert land(control, "a.csv", verdict="quarantined") == accepted == land(control, "a.csv")
    assert control.file_by_sha("orders", accepted.file_sha256) == accepted


def test_sequences_have_no_gap_when_many_land_at_once(control: Control) -> None:
    names = [f"{number % 20}.csv" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        landed = list(pool.map(lambda name: land(control, name), names))
    assert sorted({file.sequence for file in landed}) == list(range(1, 21))


def test_a_refused_registration_leaves_no_gap_and_no_keys(control: Control) -> None:
    with pytest.raises(psycopg.Error):
        control.register_file(
            feed="assets",
            name="a.csv",
            file_sha256="not a hash",
            size=1,
            rows=1,
            verdict="accepted",
            findings="[]",
            reference_keys={"asset": {"FUND": {}}},
        )
    assert control.known("asset") == {}
    assert land(control, "b.csv").sequence == 1


def test_registration_makes_keys_known_with_the_file(control: Control) -> None:
    landed = control.register_file(
        feed="holidays",
        name="h.csv",
        file_sha256=sha("h"),
        size=1,
        rows=1,
        verdict="accepted",
        findings="[]",
        reference_keys={"holiday": {"DEALING/2024-03-29": {}}, "asset": {"A": {"decimals": 4}}},
    )
    assert landed.sequence == 1
    assert control.known("holiday", ["DEALING/2024-03-29", "X"]) == {"DEALING/2024-03-29": {}}
    assert control.known("asset") == {"A": {"decimals": 4}}


def test_findings_hold_what_a_hostile_file_contains(control: Control) -> None:
    findings = json.dumps([{"got": "a\x00b\ud800", "row": 10**18, "rule": "é"}])
    landed = control.register_file(
        feed="orders",
        name="bad\x00\udcff.csv",
        file_sha256=sha("bad"),
        size=0,
        rows=0,
        verdict="quarantined",
        findings=findings,
        received_at=NOON,
    )
    expected = [{"got": "a\ufffdb\ufffd", "row": 10**18, "rule": "é"}]
    assert json.loads(landed.findings) == expected
    assert landed.name == "bad\ufffd\ufffd.csv"
    assert landed.received_at == NOON
    assert control.file_by_sha("orders", sha("bad")) == landed


def test_only_an_accepted_file_takes_its_name(control: Control) -> None:
    land(control, "q.csv", verdict="quarantined")
    land(control, "a.csv")
    assert not control.accepted_name_exists("orders", "q.csv")
    assert control.accepted_name_exists("orders", "a.csv")
    assert not control.accepted_name_exists("statements", "a.csv")


def test_run_inputs_are_fixed_by_the_first_call(control: Control) -> None:
    with pytest.raises(ControlError, match="not fixed"):
        control.run_inputs(MONDAY)
    land(control, "1.csv")
    land(control, "2.csv", verdict="quarantined")
    offered = control.offered_files(MONDAY)
    assert [(file.name, file.run_date) for file in offered] == [("1.csv", None), ("2.csv", None)]
    fixed = control.fix_run_inputs(MONDAY, NOON)
    assert [(file.name, file.run_date) for file in fixed] == [("1.csv", MONDAY), ("2.csv", MONDAY)]
    land(control, "3.csv")
    assert control.offered_files(MONDAY) == fixed
    later = NOON + timedelta(hours=1)
    assert control.fix_run_inputs(MONDAY, later) == fixed == control.run_inputs(MONDAY)
    run = control.run(MONDAY)
    assert run is not None
    assert run.known_at == NOON
    assert [file.name for file in control.fix_run_inputs(TUESDAY)] == ["3.csv"]
    with pytest.raises(RunOrderError, match="2024-03-05 has taken its inputs"):
        control.fix_run_inputs(date(2024, 3, 1), NOON)


def test_a_run_without_files_has_fixed_inputs_too(control: Control) -> None:
    assert control.fix_run_inputs(MONDAY) == []
    land(control, "late.csv")
    assert control.fix_run_inputs(MONDAY) == []


# ---- keys ---------------------------------------------------------------------------------------


def test_the_newest_detail_counts(control: Control) -> None:
    first, second = land(control, "1.csv").sequence, land(control, "2.csv").sequence
    control.add_reference_keys("asset", second, {"A": {"currency": "USD"}})
    control.add_reference_keys("asset", first, {"A": {"currency": "GBP"}, "B": {}})
    control.add_reference_keys("asset", first, {"A": {"currency": "EUR"}})
    assert control.known("asset", ["A", "B", "C", "\x00"]) == {"A": {"currency": "USD"}, "B": {}}
    assert control.known("pot", ["A"]) == {}
    with pytest.raises(ControlError, match="sequence 3"):
        control.add_reference_keys("asset", 3, {"A": {}})


def test_keys_accepted_before_exclude_the_date_itself(control: Control) -> None:
    control.record_accepted("orders", {"a": sha(1), "tab\t\\\n": sha(2)}, MONDAY)
    assert control.accepted_before("orders", ["a", "b"], MONDAY) == {}
    expected = {"a": sha(1), "tab\t\\\n": sha(2)}
    assert control.accepted_before("orders", ["tab\t\\\n", "a", "\x00"], TUESDAY) == expected
    assert control.accepted_before("confirmations", ["a"], TUESDAY) == {}


def test_a_rerun_replaces_its_own_accepted_keys(control: Control) -> None:
    control.record_accepted("orders", {"a": sha(1), "gone": sha(1)}, MONDAY)
    control.record_accepted("orders", {"a": sha(2)}, MONDAY)
    assert control.accepted_before("orders", ["a", "gone"], TUESDAY) == {"a": sha(2)}


def test_a_key_another_date_accepted_never_changes(control: Control) -> None:
    control.record_accepted("orders", {"a": sha(1)}, MONDAY)
    control.record_accepted("orders", {"a": sha(1), "b": sha(1)}, TUESDAY)
    assert control.accepted_before("orders", ["a", "b"], TUESDAY) == {"a": sha(1)}
    with pytest.raises(AcceptedKeyConflict, match="'a' was accepted on 2024-03-04"):
        control.record_accepted("orders", {"a": sha(2)}, TUESDAY)
    after = control.accepted_before("orders", ["a", "b"], TUESDAY + timedelta(days=1))
    assert after == {"a": sha(1), "b": sha(1)}


# ---- outcomes -----------------------------------------------------------------------------------


def test_outcomes_are_replaced_as_a_whole(control: Control) -> None:
    assert control.outcome(MONDAY, "morning") == []
    control.record_outcome(
        MONDAY, "morning", [CheckOutcome("b", True, ""), CheckOutcome("a", False, "3 rows\x00")]
    )
    found = control.outcome(MONDAY, "morning")
    assert found == [CheckOutcome("a", False, "3 rows\ufffd"), CheckOutcome("b", True, "")]
    control.record_outcome(MONDAY, "morning", [CheckOutcome("a", True, "")])
    assert control.outcome(MONDAY, "morning") == [CheckOutcome("a", True, "")]
    assert control.outcome(MONDAY, "dealing") == []
    with pytest.raises(ControlError, match="no check"):
        control.record_outcome(MONDAY, "morning", [])


def test_one_check_is_recorded_by_the_newest_run_alone(control: Control) -> None:
    with RunLock(control.url, MONDAY) as lock:
        for passed in (False, True):
            control.record_check(
                MONDAY, "morning", CheckOutcome("a", passed, "x"), epoch=lock.epoch
            )
        with pytest.raises(Fenced):
            control.record_check(
                MONDAY, "morning", CheckOutcome("a", False, ""), epoch=lock.epoch - 1
            )
    assert control.outcome(MONDAY, "morning") == [CheckOutcome("a", True, "x")]


# ---- lock ---------------------------------------------------------------------------------------


def test_one_run_per_date(control: Control) -> None:
    with RunLock(control.url, MONDAY) as held:
        held.check()
        with (
            pytest.raises(LockTimeout, match=r"2024-03-04 is held by 'acme run .* waited 0.1 s"),
            RunLock(control.url, MONDAY, wait_seconds_max=0.1),
        ):
            pass
        with RunLock(control.url, TUESDAY, wait_seconds_max=0) as other:
            other.check()
        held.check()
        assert held.epoch == 1
    with RunLock(control.url, MONDAY, wait_seconds_max=0) as second:
        assert second.epoch == 2
    with pytest.raises(Fenced):
        held.check()


def test_a_waiting_run_gets_the_lock_when_it_is_free(control: Control) -> None:
    taken = threading.Event()

    def hold() -> None:
        with RunLock(control.url, MONDAY):
            taken.set()
            threading.Event().wait(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(10)
    with RunLock(control.url, MONDAY, wait_seconds_max=10) as lock:
        assert lock.epoch == 2
    holder.join()


def test_the_state_tells_how_a_run_ended(control: Control) -> None:
    def state() -> str:
        run = control.run(MONDAY)
        assert run is not None
        return run.state

    with RunLock(control.url, MONDAY):
        assert state() == "running"
    assert state() == "finished"
    with pytest.raises(ZeroDivisionError), RunLock(control.url, MONDAY):
        raise ZeroDivisionError
    assert state() == "failed"
    with RunLock(control.url, MONDAY) as lock:
        publish(control, MONDAY, lock.epoch, {"core.orders": "x"})
    assert state() == "published"


def test_a_run_whose_session_ended_is_fenced_everywhere(control: Control) -> None:
    with RunLock(control.url, MONDAY) as zombie:
        with control.transaction() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        with RunLock(control.url, MONDAY, wait_seconds_max=5) as successor:
            with pytest.raises(Fenced, match="has lost its lock"):
                zombie.check()
            with pytest.raises(Fenced, match="run 1 of 2024-03-04 is not the newest"):
                publish(control, MONDAY, zombie.epoch, {"core.orders": "x"})
            with pytest.raises(Fenced):
                control.fix_run_inputs(MONDAY, epoch=zombie.epoch)
            with pytest.raises(Fenced):
                control.record_outcome(
                    MONDAY, "morning", [CheckOutcome("a", True, "")], epoch=zombie.epoch
                )
            successor.check()
    assert not control.is_published(MONDAY)


def test_a_later_epoch_fences_even_with_a_live_connection(control: Control) -> None:
    with RunLock(control.url, MONDAY) as lock:
        with control.transaction() as cursor:
            cursor.execute("UPDATE control.runs SET epoch = epoch + 1")
        with pytest.raises(Fenced, match="which is 2"):
            lock.check()


# ---- publication --------------------------------------------------------------------------------


def test_publication_and_dispatch_rows_come_together(control: Control) -> None:
    assert control.last_published() is None
    files = [
        Dispatch.of(MONDAY, "CUST-B", "instructions.csv", b"b\x00"),
        Dispatch.of(MONDAY, "CUST-A", "cash.csv", b""),
    ]
    with RunLock(control.url, MONDAY) as lock:
        assert publish(control, MONDAY, lock.epoch, {"core.orders": "x", "core.pots": "y"}, files)
    published = control.publication(MONDAY)
    assert isinstance(published, Publication)
    assert published == control.last_published()
    assert published.manifest == {
        "core.orders": DatasetManifest(1, sha("x")),
        "core.pots": DatasetManifest(1, sha("y")),
    }
    assert (published.seals, published.snapshot_id) == ({"live": sha("seal")}, 3)
    assert control.is_published(MONDAY)
    assert control.unsent_dispatches() == [files[1], files[0]]
    assert control.mark_sent(MONDAY, "CUST-B", "instructions.csv")
    assert not control.mark_sent(MONDAY, "CUST-B", "instructions.csv")
    assert control.unsent_dispatches() == [files[1]]
    assert [file.content for file in control.dispatches(MONDAY)] == [b"", b"b\x00"]
    with pytest.raises(ControlError, match="CUST-C"):
        control.mark_sent(MONDAY, "CUST-C", "cash.csv")


def test_an_equal_publication_has_no_effect_and_another_is_refused(control: Control) -> None:
    file = Dispatch.of(MONDAY, "CUST-A", "cash.csv", b"1")
    datasets = {"core.orders": "x", "core.pots": "y"}
    with RunLock(control.url, MONDAY) as lock:
        publish(control, MONDAY, lock.epoch, datasets, [file])
    control.mark_sent(MONDAY, "CUST-A", "cash.csv")
    first = control.publication(MONDAY)
    with RunLock(control.url, MONDAY) as lock:
        assert not publish(control, MONDAY, lock.epoch, datasets, [file])
        changed = Dispatch.of(MONDAY, "CUST-A", "cash.csv", b"2")
        with pytest.raises(PublicationConflict) as refused:
            publish(control, MONDAY, lock.epoch, {"core.orders": "z", "new": ""}, [changed])
        with pytest.raises(PublicationConflict, match=r"CUST-A/cash\.csv"):
            publish(control, MONDAY, lock.epoch, datasets)
    assert refused.value.datasets == ("CUST-A/cash.csv", "core.orders", "core.pots", "new")
    assert control.publication(MONDAY) == first
    assert control.unsent_dispatches() == []


def test_dates_are_published_in_order(control: Control) -> None:
    with RunLock(control.url, MONDAY) as monday, RunLock(control.url, TUESDAY) as tuesday:
        publish(control, TUESDAY, tuesday.epoch, {"core.orders": "x"})
        with pytest.raises(RunOrderError, match="2024-03-05 is published"):
            publish(control, MONDAY, monday.epoch, {"core.orders": "x"})
    last = control.last_published()
    assert last is not None
    assert last.run_date == TUESDAY


def test_a_failed_publication_leaves_nothing(control: Control) -> None:
    file = Dispatch.of(MONDAY, "CUST-A", "cash.csv", b"1")
    with RunLock(control.url, MONDAY) as lock:
        with pytest.raises(psycopg.Error):
            publish(
                control, MONDAY, lock.epoch, {"core.orders": "x"}, [replace(file, sha256=sha(0))]
            )
        for files in ([file, file], [replace(file, run_date=TUESDAY)]):
            with pytest.raises(ControlError):
                publish(control, MONDAY, lock.epoch, {"core.orders": "x"}, files)
        with pytest.raises(ControlError, match="no dataset"):
            publish(control, MONDAY, lock.epoch, {})
    assert not control.is_published(MONDAY)
    assert control.unsent_dispatches() == []


def test_the_date_published_before_another(control: Control) -> None:
    for run_date in (MONDAY, TUESDAY):
        with RunLock(control.url, run_date) as lock:
            publish(control, run_date, lock.epoch, {"core.orders": "x"})
    assert control.published_before(MONDAY) is None
    assert control.published_before(TUESDAY) == MONDAY
    assert control.published_before(TUESDAY + timedelta(days=9)) == TUESDAY
