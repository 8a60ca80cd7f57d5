"""The control schema in Postgres: scheme, landed files, runs, publication. No file, no lake table.

Every function does its work in one transaction; a RunLock has a connection of its own. Times are
timestamps with offset, in UTC.
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from types import TracebackType
from typing import Literal, Self, TypeAlias, cast
from zoneinfo import ZoneInfo

import psycopg
from psycopg import Connection, Cursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from acme.lakehouse.connections import Connections, one_line
from acme.lakehouse.failpoints import reach
from acme.lakehouse.served import OrderState, serve
from acme.lakehouse.sessions import end_sessions, holder, session_name

# No float: nothing that is stored here may pass through binary fractions.
Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
Detail: TypeAlias = Mapping[str, Json]
Verdict = Literal["accepted", "quarantined"]
ReferenceKind = Literal["asset", "holiday", "pot", "risk_profile"]
Part = Literal["morning", "dealing"]
RunState = Literal["created", "running", "failed", "finished", "published"]

# First half of the advisory lock's key, so that it meets no other use of such locks.
_RUN_LOCK_CLASS = 4_113_502
_FILE_COLUMNS = (
    "sequence, feed, name, file_sha256, size, rows, received_at, verdict, findings::text, run_date"
)
# What no Postgres text holds: NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DISPATCH_COLUMNS = "run_date, custodian_id, file_name, sha256, content, sent_at"
_PUBLICATION_COLUMNS = "run_date, published_at, manifest, seals, snapshot_id"


class ControlError(Exception):
    """The control schema refuses a step; the text says what was expected and what was found."""


class ControlUnavailable(ControlError):  # noqa: N818  a state of the world, not of the caller
    """Postgres cannot be reached."""


class SchemeMissing(ControlError):  # noqa: N818
    """`acme init` has not been run on this database."""


class SchemeMismatch(ControlError):  # noqa: N818
    """The scheme exists with other parameters; they never change."""


class RunOrderError(ControlError):
    """A date comes before one that was already run or published: dates run in order."""


class LockTimeout(ControlError):  # noqa: N818
    """Another process holds the run of the date, and did not end in time."""


class Fenced(ControlError):  # noqa: N818
    """The run of a date is no longer its newest, or has lost its lock: it must stop."""


class AcceptedKeyConflict(ControlError):  # noqa: N818
    """A key was accepted before on another date, so that it cannot be accepted again."""


class PublicationConflict(ControlError):  # noqa: N818
    """The date is published with other contents; `datasets` names what differs, sorted."""

    def __init__(self, run_date: date, datasets: Sequence[str]) -> None:
        """Name the datasets and dispatch files that differ."""
        self.run_date = run_date
        self.datasets = tuple(datasets)
        super().__init__(
            f"{run_date} is published and what was published never changes; "
            f"different now: {', '.join(datasets)}"
        )


@dataclass(frozen=True)
class Scheme:
    """The parameters of the one scheme of an installation; `cutoff` is local to `timezone`."""

    currency: str
    cutoff: time
    timezone: str
    created_at: datetime


@dataclass(frozen=True)
class LandedFile:
    """A file that was received: one row of control.landed_files.

    `sequence` counts received files without a gap, from 1. `findings` is JSON text. `run_date`
    is the run that took it as input, None before.
    """

    sequence: int
    feed: str
    name: str
    file_sha256: str
    size: int
    rows: int
    received_at: datetime
    verdict: Verdict
    findings: str
    run_date: date | None


@dataclass(frozen=True)
class Run:
    """One run date: its newest attempt (`epoch`), and the inputs and `known_at` fixed for it."""

    run_date: date
    epoch: int
    inputs_fixed_at: datetime | None
    known_at: datetime | None
    state: RunState
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class CheckOutcome:
    """What one check of one part of a run found."""

    check_name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class DatasetManifest:
    """A published dataset: number of rows and the hash over their canonical text."""

    rows: int
    content_sha256: str


@dataclass(frozen=True)
class Dispatch:
    """A file for a custodian, kept with its bytes so that sending again sends the same (rules §6).

    `sent_at` is None until the file has left.
    """

    run_date: date
    custodian_id: str
    file_name: str
    sha256: str
    content: bytes
    sent_at: datetime | None

    @classmethod
    def of(cls, run_date: date, custodian_id: str, file_name: str, content: bytes) -> Self:
        """A dispatch still to be sent, its hash taken from its bytes."""
        digest = hashlib.sha256(content).hexdigest()
        return cls(run_date, custodian_id, file_name, digest, content, None)


@dataclass(frozen=True)
class Publication:
    """What one published date consists of; `seals` are those of its batches."""

    run_date: date
    published_at: datetime
    manifest: Mapping[str, DatasetManifest]
    seals: Mapping[str, Json]
    snapshot_id: int


class Control:
    """The control schema of the database at a libpq URL, migrated to the newest step."""

    def __init__(self, url: str) -> None:
        """Keep the URL; nothing is opened yet."""
        self.url = url
        self._connections = Connections(lambda: _connect(url, session_name("control")))

    def close(self) -> None:
        """Close the connections kept for the next transaction."""
        self._connections.close()

    @contextmanager
    def transaction(self) -> Iterator[Cursor[TupleRow]]:
        """A cursor of one transaction: committed at the end, rolled back on any exception.

        Raises ControlUnavailable if Postgres cannot be reached, DatabaseLostError if it ends.
        """
        with self._connections.transaction() as cursor:
            yield cursor

    # ---- scheme ---------------------------------------------------------------------------------

    def create_scheme(self, currency: str, cutoff: time, timezone: str) -> Scheme:
        """Record the scheme's parameters; the same ones again have no effect.

        `currency` is an ISO 4217 code, `cutoff` a local time of `timezone` (rules §2). Raises
        SchemeMismatch if the scheme exists with others, ControlError for an impossible value.
        """
        check_scheme(currency, cutoff, timezone)
        with self.transaction() as cursor:
            cursor.execute(
                "INSERT INTO control.scheme (currency, cutoff, timezone) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [currency, cutoff, timezone],
            )
            found = _scheme(cursor)
        wanted = {"currency": currency, "cutoff": cutoff, "timezone": timezone}
        differences = [
            f"{name}: expected {getattr(found, name)}, got {value}"
            for name, value in wanted.items()
            if getattr(found, name) != value
        ]
        if differences:
            raise SchemeMismatch(f"the scheme exists already; {'; '.join(differences)}")
        return found

    def scheme(self) -> Scheme:
        """The scheme; SchemeMissing before `acme init`."""
        with self.transaction() as cursor:
            return _scheme(cursor)

    # ---- landed files ---------------------------------------------------------------------------

    def register_file(
        self,
        *,
        feed: str,
        name: str,
        file_sha256: str,
        size: int,
        rows: int,
        verdict: Verdict,
        findings: str,
        received_at: datetime | None = None,
        reference_keys: Mapping[ReferenceKind, Mapping[str, Detail]] | None = None,
    ) -> LandedFile:
        """Record a received file, and with it the keys it makes known, or neither.

        The same bytes for the same feed again have no effect: the row of the first time is
        returned (rules §10). Only quarantined bytes that are now accepted get a second row, since
        what they refer to may have been landed meanwhile. `findings` is JSON text; characters that
        Postgres cannot hold become U+FFFD. `received_at` defaults to the database's clock.
        """
        with self.transaction() as cursor:
            _lock_files(cursor)
            known = _file_by_sha(cursor, feed, file_sha256)
            if known is not None and (known.verdict == "accepted" or verdict == "quarantined"):
                return known
            cursor.execute(
                "INSERT INTO control.landed_files (sequence, feed, name, file_sha256, size, rows,"
                " received_at, verdict, findings) SELECT coalesce(max(sequence), 0) + 1,"
                " %s, %s, %s, %s, %s, coalesce(%s, clock_timestamp()), %s, %s"
                f" FROM control.landed_files RETURNING {_FILE_COLUMNS}",
                [
                    *(feed, _storable(name), file_sha256, size, rows, received_at, verdict),
                    Jsonb(_storable_json(json.loads(findings))),
                ],
            )
            landed = LandedFile(*_one(cursor))
            for kind, keys in (reference_keys or {}).items():
                _add_reference_keys(cursor, kind, landed.sequence, keys)
            return landed

    def file_by_sha(self, feed: str, file_sha256: str) -> LandedFile | None:
        """The file of `feed` with these bytes, if it was received; the accepted one if any."""
        with self.transaction() as cursor:
            return _file_by_sha(cursor, feed, file_sha256)

    def accepted_name_exists(self, feed: str, name: str) -> bool:
        """Whether a file of this name, whatever its bytes, was accepted for `feed`."""
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM control.landed_files"
                " WHERE feed = %s AND name = %s AND verdict = 'accepted')",
                [feed, _storable(name)],
            )
            return bool(_one(cursor)[0])

    def fix_run_inputs(
        self, run_date: date, known_at: datetime | None = None, *, epoch: int | None = None
    ) -> list[LandedFile]:
        """The inputs of a run, in sequence: fixed by the first call, the same ever after.

        The first call for `run_date` gives it every file no run has taken, and records `known_at`
        (default: the database's clock), all in one transaction. What arrives later belongs to the
        next run. Raises RunOrderError if a later date has its inputs already; Fenced if `epoch`
        is given and not the newest.
        """
        with self.transaction() as cursor:
            _lock_files(cursor)
            if epoch is not None:
                _check_epoch(cursor, run_date, epoch)
            run = _run(cursor, run_date)
            if run is None or run.inputs_fixed_at is None:
                _fix_inputs(cursor, run_date, known_at)
            return _run_inputs(cursor, run_date)

    def run_inputs(self, run_date: date) -> list[LandedFile]:
        """The inputs fixed for a run, in sequence; ControlError if they are not fixed yet."""
        with self.transaction() as cursor:
            run = _run(cursor, run_date)
            if run is None or run.inputs_fixed_at is None:
                raise ControlError(f"the inputs of {run_date} are not fixed: run its landing first")
            return _run_inputs(cursor, run_date)

    def offered_files(self, run_date: date) -> list[LandedFile]:
        """What fix_run_inputs would give the date now, in sequence; nothing is fixed."""
        with self.transaction() as cursor:
            run = _run(cursor, run_date)
            if run is not None and run.inputs_fixed_at is not None:
                return _run_inputs(cursor, run_date)
            cursor.execute(
                f"SELECT {_FILE_COLUMNS} FROM control.landed_files WHERE run_date IS NULL"
                " ORDER BY sequence"
            )
            return [LandedFile(*row) for row in cursor]

    def unpublished_files(self, feed: str) -> list[LandedFile]:
        """The accepted files of a feed that no published date has taken, in sequence."""
        with self.transaction() as cursor:
            cursor.execute(
                f"SELECT {_FILE_COLUMNS} FROM control.landed_files AS file"
                " WHERE feed = %s AND verdict = 'accepted' AND NOT EXISTS (SELECT"
                " FROM control.publications AS past WHERE past.run_date = file.run_date)"
                " ORDER BY sequence",
                [feed],
            )
            return [LandedFile(*row) for row in cursor]

    def waiting_count(self) -> int:
        """How many accepted files no run has taken yet."""
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT count(*) FROM control.landed_files"
                " WHERE run_date IS NULL AND verdict = 'accepted'"
            )
            return int(_one(cursor)[0])

    # ---- what landed files made known -----------------------------------------------------------

    def add_reference_keys(
        self, kind: ReferenceKind, sequence: int, rows: Mapping[str, Detail]
    ) -> None:
        """Record that the landed file `sequence` made the keys of `rows` known, with details.

        Again for the same file: no effect. ControlError if no accepted file has that sequence.
        """
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT FROM control.landed_files WHERE sequence = %s AND verdict = 'accepted'",
                [sequence],
            )
            if cursor.fetchone() is None:
                raise ControlError(f"no accepted landed file has the sequence {sequence}")
            _add_reference_keys(cursor, kind, sequence, rows)

    def known(self, kind: ReferenceKind, keys: Iterable[str] | None = None) -> dict[str, Detail]:
        """Those of `keys` (default: all) that are known, each with its newest file's detail.

        Equal details may be one object: they are to be read only.
        """
        wanted = None if keys is None else _possible_keys(keys)
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT DISTINCT ON (key) key, detail::text FROM control.reference_keys"
                " WHERE kind = %(kind)s AND (%(keys)s::text[] IS NULL OR key = ANY (%(keys)s))"
                " ORDER BY key, sequence DESC",
                {"kind": kind, "keys": wanted},
            )
            # Many keys share few details: each text is read once.
            read = functools.cache(_detail)
            return {key: read(detail) for key, detail in cursor}

    def accepted_before(self, feed: str, keys: Iterable[str], run_date: date) -> dict[str, str]:
        """Those of `keys` that a run before `run_date` accepted, each with its values' SHA-256.

        The newest such run counts.
        """
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT DISTINCT ON (key) key, values_sha256 FROM control.accepted_keys"
                " WHERE feed = %s AND key = ANY (%s::text[]) AND run_date < %s"
                " ORDER BY key, run_date DESC",
                [feed, _possible_keys(keys), run_date],
            )
            return dict(cursor)

    def record_accepted(
        self,
        feed: str,
        keys: Mapping[str, str],
        run_date: date,
        *,
        restated: bool = False,
        epoch: int | None = None,
    ) -> None:
        """Make `keys` (key → SHA-256 of its values) exactly what `run_date` accepted of `feed`.

        A run again replaces its own. A key an earlier run accepted with the same values stays with
        that run; with other values it raises AcceptedKeyConflict and nothing changes, unless it is
        `restated`. Raises Fenced as fix_run_inputs does.
        """
        with self.transaction() as cursor:
            if epoch is not None:
                _check_epoch(cursor, run_date, epoch)
            cursor.execute(
                "DELETE FROM control.accepted_keys WHERE feed = %s AND run_date = %s",
                [feed, run_date],
            )
            cursor.execute(
                'CREATE TEMP TABLE arriving (key text COLLATE "C", values_sha256 text)'
                " ON COMMIT DROP"
            )
            with cursor.copy("COPY arriving FROM STDIN") as copy:
                for row in keys.items():
                    copy.write_row(row)
            if not restated:
                _refuse_other_values(cursor, feed)
            cursor.execute(
                "INSERT INTO control.accepted_keys (feed, key, values_sha256, run_date)"
                " SELECT %(feed)s, key, values_sha256, %(date)s FROM arriving WHERE NOT EXISTS"
                " (SELECT FROM control.accepted_keys AS known WHERE known.feed = %(feed)s"
                " AND known.key = arriving.key AND known.values_sha256 = arriving.values_sha256"
                " AND NOT %(restated)s)",
                {"feed": feed, "date": run_date, "restated": restated},
            )

    # ---- runs -----------------------------------------------------------------------------------

    def run(self, run_date: date) -> Run | None:
        """The run of a date, None if it was never started."""
        with self.transaction() as cursor:
            return _run(cursor, run_date)

    def record_outcome(
        self,
        run_date: date,
        part: Part,
        results: Sequence[CheckOutcome],
        *,
        epoch: int | None = None,
    ) -> None:
        """Replace what a part of the run found. Raises Fenced as fix_run_inputs does.

        ControlError for an empty list: a part without a check proves nothing.
        """
        if not results:
            raise ControlError(f"the {part} of {run_date} has no check to record")
        with self.transaction() as cursor:
            if epoch is not None:
                _check_epoch(cursor, run_date, epoch)
            cursor.execute(
                "DELETE FROM control.run_outcomes WHERE run_date = %s AND part = %s",
                [run_date, part],
            )
            cursor.executemany(
                "INSERT INTO control.run_outcomes (run_date, part, check_name, passed, detail)"
                " VALUES (%s, %s, %s, %s, %s)",
                [
                    (run_date, part, result.check_name, result.passed, _storable(result.detail))
                    for result in results
                ],
            )

    def record_check(self, run_date: date, part: Part, result: CheckOutcome, *, epoch: int) -> None:
        """Replace what one check of a part found. Raises Fenced if `epoch` is not the newest."""
        with self.transaction() as cursor:
            _check_epoch(cursor, run_date, epoch)
            cursor.execute(
                "INSERT INTO control.run_outcomes (run_date, part, check_name, passed, detail)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (run_date, part, check_name)"
                " DO UPDATE SET passed = excluded.passed, detail = excluded.detail",
                [run_date, part, result.check_name, result.passed, _storable(result.detail)],
            )

    def outcome(self, run_date: date, part: Part) -> list[CheckOutcome]:
        """What a part of the run found, by check name; empty if it has not been recorded."""
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT check_name, passed, detail FROM control.run_outcomes"
                ' WHERE run_date = %s AND part = %s ORDER BY check_name COLLATE "C"',
                [run_date, part],
            )
            return [CheckOutcome(*row) for row in cursor]

    # ---- publication and dispatch ---------------------------------------------------------------

    def publish(
        self,
        *,
        run_date: date,
        epoch: int,
        manifest: Mapping[str, DatasetManifest],
        seals: Mapping[str, Json],
        snapshot_id: int,
        dispatches: Sequence[Dispatch],
        order_states: Iterable[OrderState] = (),
    ) -> bool:
        """Publish a date and queue its files in one transaction (rules §6: publish, then dispatch).

        With it the orders of third parties move to `order_states`, in what is served.

        True if it was published now; False, without effect, if it was already published with the
        same manifest and the same files. Raises PublicationConflict if with others, Fenced if a
        later run of the date has started, RunOrderError if a later date is published.
        """
        _check_publication(run_date, manifest, dispatches)
        with self.transaction() as cursor:
            _check_epoch(cursor, run_date, epoch)
            # Two dates at once: the second sees the first.
            cursor.execute("LOCK TABLE control.publications IN SHARE ROW EXCLUSIVE MODE")
            published = _publication(cursor, "WHERE run_date = %s", [run_date])
            if published is None:
                _insert_publication(
                    cursor,
                    run_date,
                    manifest=manifest,
                    seals=seals,
                    snapshot_id=snapshot_id,
                    dispatches=dispatches,
                )
                serve(cursor, run_date, order_states)
            else:
                _refuse_other_contents(cursor, published, manifest, dispatches)
            cursor.execute(
                "UPDATE control.runs SET state = 'published', finished_at = clock_timestamp()"
                " WHERE run_date = %s",
                [run_date],
            )
            return published is None

    def last_published(self) -> Publication | None:
        """The publication of the newest published date."""
        with self.transaction() as cursor:
            return _publication(cursor, "ORDER BY run_date DESC LIMIT 1", [])

    def is_published(self, run_date: date) -> bool:
        """Whether a date is published."""
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM control.publications WHERE run_date = %s)", [run_date]
            )
            return bool(_one(cursor)[0])

    def published_dates(self) -> list[date]:
        """Every published date, oldest first."""
        with self.transaction() as cursor:
            cursor.execute("SELECT run_date FROM control.publications ORDER BY run_date")
            return [cast("date", row[0]) for row in cursor]

    def published_before(self, run_date: date) -> date | None:
        """The newest published date before `run_date`, None if there is none."""
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT max(run_date) FROM control.publications WHERE run_date < %s", [run_date]
            )
            found = _one(cursor)[0]
            return None if found is None else cast("date", found)

    def publication(self, run_date: date) -> Publication | None:
        """The publication of a date, None if it is not published."""
        with self.transaction() as cursor:
            return _publication(cursor, "WHERE run_date = %s", [run_date])

    def dispatches(self, run_date: date) -> list[Dispatch]:
        """All files of a published date, by custodian and name, sent or not."""
        return self._dispatches("run_date = %s", [run_date])

    def unsent_dispatches(self) -> list[Dispatch]:
        """The files of published dates that have not left, by date, custodian and name.

        ControlError if a file's bytes no longer have the hash they were published with.
        """
        return self._dispatches("sent_at IS NULL", [])

    def mark_sent(self, run_date: date, custodian_id: str, file_name: str) -> bool:
        """Record that a file has left; False if that was known. ControlError if there is none."""
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT sent_at FROM control.dispatches"
                " WHERE run_date = %s AND custodian_id = %s AND file_name = %s FOR UPDATE",
                [run_date, custodian_id, file_name],
            )
            row = cursor.fetchone()
            if row is None:
                raise ControlError(
                    f"nothing to send is called {run_date}/{custodian_id}/{file_name}"
                )
            if row[0] is not None:
                return False
            cursor.execute(
                "UPDATE control.dispatches SET sent_at = clock_timestamp()"
                " WHERE run_date = %s AND custodian_id = %s AND file_name = %s",
                [run_date, custodian_id, file_name],
            )
            return True

    def _dispatches(
        self, condition: Literal["run_date = %s", "sent_at IS NULL"], values: Sequence[date]
    ) -> list[Dispatch]:
        with self.transaction() as cursor:
            cursor.execute(
                f"SELECT {_DISPATCH_COLUMNS} FROM control.dispatches WHERE {condition}"
                ' ORDER BY run_date, custodian_id COLLATE "C", file_name COLLATE "C"',
                values,
            )
            found = [Dispatch(*row) for row in cursor]
        for dispatch in found:
            digest = hashlib.sha256(dispatch.content).hexdigest()
            if digest != dispatch.sha256:
                raise ControlError(
                    f"dispatch {dispatch.run_date}/{dispatch.custodian_id}/{dispatch.file_name}: "
                    f"expected SHA-256 {dispatch.sha256}, got {digest}"
                )
        return found


class RunLock:
    """Admits one run per date: `with RunLock(url, run_date) as lock: … lock.check() …`.

    A session advisory lock on a connection of its own, and `epoch`, a number that grows each
    time the lock is taken. A run that was frozen while its lock went to another has lost all its
    sessions, with what they had begun, and finds a later epoch: check(), check_in() and every
    step of Control that takes an epoch then raise Fenced. The run's state becomes `running`, and
    at the end `failed` (after an exception) or `finished`, unless it was published.
    """

    def __init__(self, url: str, run_date: date, *, wait_seconds_max: float = 30) -> None:
        """Name the date; the lock is taken on entering the context."""
        self.run_date = run_date
        self._url = url
        self._wait_seconds_max = wait_seconds_max
        self._epoch: int | None = None
        self._connection: Connection[TupleRow] | None = None

    @property
    def epoch(self) -> int:
        """The number of this run of the date, from 1."""
        if self._epoch is None:
            raise ControlError(f"the lock of {self.run_date} has not been taken")
        return self._epoch

    def __enter__(self) -> Self:
        """Take the lock and the next epoch; LockTimeout names who holds it."""
        connection = _connect(self._url, session_name(f"run {self.run_date}"))
        try:
            connection.autocommit = True
            self._take(connection)
        except psycopg.OperationalError as error:
            connection.close()
            raise ControlUnavailable(
                f"Postgres ended the connection before the run of {self.run_date} was admitted:"
                f" {one_line(error)}; run it again"
            ) from error
        except BaseException:
            connection.close()
            raise
        reach("run.admit:after")
        self._connection = connection
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Record how the run ended and let go of the lock; closing the session releases it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        reach("run.end:before")
        # A lost connection has lost the lock already; its successor records the state.
        with suppress(psycopg.Error), connection:
            connection.execute(
                "UPDATE control.runs SET state = %s, finished_at = clock_timestamp()"
                " WHERE run_date = %s AND epoch = %s AND state = 'running'",
                ["finished" if kind is None else "failed", self.run_date, self.epoch],
            )

    def check(self) -> None:
        """Raise Fenced unless this run still holds its lock and is the newest of its date."""
        if self._connection is None:
            raise Fenced(f"the run of {self.run_date} does not hold its lock")
        try:
            row = self._connection.execute(
                "SELECT epoch FROM control.runs WHERE run_date = %s", [self.run_date]
            ).fetchone()
        except psycopg.Error as error:
            raise Fenced(
                f"the run of {self.run_date} has lost its lock, for Postgres has ended its"
                " connection: it stops here; run it again"
            ) from error
        if row is None or row[0] != self.epoch:
            raise _fenced(self.run_date, self.epoch, row)

    def check_in(self, cursor: Cursor[TupleRow]) -> None:
        """Raise Fenced unless this is the newest run; none takes over before the commit."""
        _check_epoch(cursor, self.run_date, self.epoch)

    def _take(self, connection: Connection[TupleRow]) -> None:
        # 0 would mean: wait for ever.
        milliseconds = max(1, round(self._wait_seconds_max * 1000))
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(milliseconds)])
        key = [_RUN_LOCK_CLASS, self.run_date.toordinal()]
        try:
            connection.execute("SELECT pg_advisory_lock(%s::int, %s::int)", key)
        except psycopg.errors.LockNotAvailable as error:
            raise LockTimeout(
                f"the run of {self.run_date} is held by {_holder(connection, key)}; "
                f"waited {self._wait_seconds_max:g} s"
            ) from error
        connection.execute("SET lock_timeout = 0")
        before = connection.execute(
            "SELECT holder FROM control.runs WHERE run_date = %s AND state = 'running'",
            [self.run_date],
        ).fetchone()
        reach("run.admit:before")
        row = connection.execute(
            "INSERT INTO control.runs AS run (run_date, epoch, state, started_at, holder)"
            " VALUES (%s, 1, 'running', clock_timestamp(), %s) ON CONFLICT (run_date) DO UPDATE"
            " SET epoch = run.epoch + 1, state = 'running', started_at = clock_timestamp(),"
            " finished_at = NULL, holder = excluded.holder RETURNING epoch",
            [self.run_date, holder()],
        ).fetchone()
        if row is None:
            raise ControlError(f"the run of {self.run_date} could not be recorded")
        self._epoch = int(row[0])
        # After the new epoch: what the overtaken run opens from here on meets a fence.
        if before is not None and before[0] is not None:
            end_sessions(connection, before[0])


# ---- connections --------------------------------------------------------------------------------


def _connect(url: str, application_name: str) -> Connection[TupleRow]:
    try:
        options = f"{conninfo_to_dict(url).get('options') or ''} -c TimeZone=UTC".strip()
        return psycopg.connect(
            url,
            application_name=application_name,
            options=options,
            connect_timeout=30,
            # A peer that vanished is noticed within half a minute, not within hours.
            keepalives=1,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
        )
    except psycopg.Error as error:
        raise ControlUnavailable(f"Postgres cannot be reached: {one_line(error)}") from error


def _one(cursor: Cursor[TupleRow]) -> TupleRow:
    row = cursor.fetchone()
    if row is None:
        raise ControlError("Postgres returned no row where one was certain")
    return row


def _holder(connection: Connection[TupleRow], key: Sequence[int]) -> str:
    row = connection.execute(
        "SELECT application_name, activity.pid, backend_start"
        " FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)"
        " WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        key,
    ).fetchone()
    if row is None:
        return "a run that has just ended: try again"
    return f"'{row[0]}' (session {row[1]}, connected {row[2]:%Y-%m-%d %H:%M:%S} UTC)"


# ---- values -------------------------------------------------------------------------------------


def _storable(text: str) -> str:
    """`text` without what Postgres cannot hold: NUL, and halves of surrogate pairs."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _storable_json(value: Json) -> Json:
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, Mapping):
        return {_storable(key): _storable_json(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_storable_json(item) for item in value]
    return value


def _possible_keys(keys: Iterable[str]) -> list[str]:
    """The distinct keys without those that Postgres cannot hold, which nobody can have stored."""
    return [key for key in dict.fromkeys(keys) if _UNSTORABLE.search(key) is None]


def _detail(text: str) -> Detail:
    return cast("Detail", json.loads(text))


def _json_text(value: Json) -> str:
    """`value` as JSON that Postgres can hold; the slow way only where the text shows the need."""
    text = json.dumps(value)
    if "\\u0000" in text or "\\ud" in text:
        text = json.dumps(_storable_json(value))
    return text


def check_scheme(currency: str, cutoff: time, timezone: str) -> None:
    """Raise ControlError for a value that no scheme can have; the text names it."""
    if re.fullmatch("[A-Z]{3}", currency) is None:
        raise ControlError(f"currency: expected three capital letters, got {currency!r}")
    if cutoff.tzinfo is not None:
        raise ControlError(f"cut-off: expected a local time without offset, got {cutoff}")
    try:
        ZoneInfo(timezone)
    except (ValueError, OSError) as error:
        raise ControlError(f"timezone: expected an IANA name, got {timezone!r}") from error
    except KeyError as error:
        raise ControlError(f"timezone: {timezone!r} is not in the time zone database") from error


def _check_publication(
    run_date: date, manifest: Mapping[str, DatasetManifest], dispatches: Sequence[Dispatch]
) -> None:
    if not manifest:
        raise ControlError(f"the manifest of {run_date} names no dataset")
    names = [(dispatch.custodian_id, dispatch.file_name) for dispatch in dispatches]
    if len(set(names)) != len(names):
        raise ControlError(f"two files for one custodian have the same name on {run_date}")
    if any(dispatch.run_date != run_date for dispatch in dispatches):
        raise ControlError(f"a file of another date among those of {run_date}")


def _fenced(run_date: date, epoch: int, row: TupleRow | None) -> Fenced:
    newest = "none" if row is None else row[0]
    return Fenced(f"run {epoch} of {run_date} is not the newest (which is {newest}): it stops here")


# ---- steps inside a transaction -----------------------------------------------------------------


def _scheme(cursor: Cursor[TupleRow]) -> Scheme:
    cursor.execute("SELECT currency, cutoff, timezone, created_at FROM control.scheme")
    row = cursor.fetchone()
    if row is None:
        raise SchemeMissing("there is no scheme yet: run `acme init --currency …`")
    return Scheme(*row)


def _lock_files(cursor: Cursor[TupleRow]) -> None:
    """One writer of landed_files at a time: sequences have no gap, a run misses no file."""
    cursor.execute("LOCK TABLE control.landed_files IN SHARE ROW EXCLUSIVE MODE")


def _file_by_sha(cursor: Cursor[TupleRow], feed: str, file_sha256: str) -> LandedFile | None:
    cursor.execute(
        f"SELECT {_FILE_COLUMNS} FROM control.landed_files WHERE feed = %s AND file_sha256 = %s"
        " ORDER BY verdict LIMIT 1",
        [feed, file_sha256],
    )
    row = cursor.fetchone()
    return None if row is None else LandedFile(*row)


def _add_reference_keys(
    cursor: Cursor[TupleRow], kind: ReferenceKind, sequence: int, rows: Mapping[str, Detail]
) -> None:
    cursor.execute('CREATE TEMP TABLE arriving (key text COLLATE "C", detail jsonb) ON COMMIT DROP')
    with cursor.copy("COPY arriving FROM STDIN") as copy:
        for key, detail in rows.items():
            copy.write_row((key, _json_text(detail)))
    cursor.execute(
        "INSERT INTO control.reference_keys (kind, key, sequence, detail)"
        " SELECT %s, key, %s, detail FROM arriving ON CONFLICT DO NOTHING",
        [kind, sequence],
    )
    cursor.execute("DROP TABLE arriving")


def _refuse_other_values(cursor: Cursor[TupleRow], feed: str) -> None:
    cursor.execute(
        "SELECT key, run_date FROM control.accepted_keys JOIN arriving USING (key)"
        " WHERE feed = %s AND accepted_keys.values_sha256 <> arriving.values_sha256"
        " ORDER BY key LIMIT 1",
        [feed],
    )
    if (row := cursor.fetchone()) is not None:
        raise AcceptedKeyConflict(
            f"{feed} {row[0]!r} was accepted on {row[1]} with other values; it never changes"
        )


def _run(cursor: Cursor[TupleRow], run_date: date) -> Run | None:
    cursor.execute(
        "SELECT run_date, epoch, inputs_fixed_at, known_at, state, started_at, finished_at"
        " FROM control.runs WHERE run_date = %s",
        [run_date],
    )
    row = cursor.fetchone()
    return None if row is None else Run(*row)


def _check_epoch(cursor: Cursor[TupleRow], run_date: date, epoch: int) -> None:
    """Raise Fenced unless `epoch` is the newest; no later one can begin before the commit."""
    cursor.execute("SELECT epoch FROM control.runs WHERE run_date = %s FOR UPDATE", [run_date])
    row = cursor.fetchone()
    if row is None or row[0] != epoch:
        raise _fenced(run_date, epoch, row)


def _fix_inputs(cursor: Cursor[TupleRow], run_date: date, known_at: datetime | None) -> None:
    cursor.execute("SELECT max(run_date) FROM control.runs WHERE inputs_fixed_at IS NOT NULL")
    newest = _one(cursor)[0]
    if newest is not None and newest > run_date:
        raise RunOrderError(
            f"dates run in order: {newest} has taken its inputs, {run_date} comes before it"
        )
    cursor.execute(
        "INSERT INTO control.runs (run_date, inputs_fixed_at, known_at)"
        " VALUES (%(date)s, clock_timestamp(), coalesce(%(known_at)s, clock_timestamp()))"
        " ON CONFLICT (run_date) DO UPDATE"
        " SET inputs_fixed_at = excluded.inputs_fixed_at, known_at = excluded.known_at",
        {"date": run_date, "known_at": known_at},
    )
    cursor.execute(
        "UPDATE control.landed_files SET run_date = %s WHERE run_date IS NULL", [run_date]
    )


def _run_inputs(cursor: Cursor[TupleRow], run_date: date) -> list[LandedFile]:
    cursor.execute(
        f"SELECT {_FILE_COLUMNS} FROM control.landed_files WHERE run_date = %s ORDER BY sequence",
        [run_date],
    )
    return [LandedFile(*row) for row in cursor]


def _publication(
    cursor: Cursor[TupleRow],
    clause: Literal["WHERE run_date = %s", "ORDER BY run_date DESC LIMIT 1"],
    values: Sequence[date],
) -> Publication | None:
    cursor.execute(f"SELECT {_PUBLICATION_COLUMNS} FROM control.publications {clause}", values)
    row = cursor.fetchone()
    if row is None:
        return None
    run_date, published_at, manifest, seals, snapshot_id = row
    datasets = {name: DatasetManifest(**fields) for name, fields in sorted(manifest.items())}
    return Publication(run_date, published_at, datasets, seals, snapshot_id)


def _insert_publication(
    cursor: Cursor[TupleRow],
    run_date: date,
    *,
    manifest: Mapping[str, DatasetManifest],
    seals: Mapping[str, Json],
    snapshot_id: int,
    dispatches: Sequence[Dispatch],
) -> None:
    cursor.execute("SELECT max(run_date) FROM control.publications")
    newest = _one(cursor)[0]
    if newest is not None and newest > run_date:
        raise RunOrderError(f"dates run in order: {newest} is published, {run_date} is before it")
    datasets = {
        name: {"rows": dataset.rows, "content_sha256": dataset.content_sha256}
        for name, dataset in manifest.items()
    }
    cursor.execute(
        "INSERT INTO control.publications (run_date, manifest, seals, snapshot_id)"
        " VALUES (%s, %s, %s, %s)",
        [run_date, Jsonb(datasets), Jsonb(seals), snapshot_id],
    )
    cursor.executemany(
        "INSERT INTO control.dispatches (run_date, custodian_id, file_name, sha256, content)"
        " VALUES (%s, %s, %s, %s, %s)",
        [
            (run_date, dispatch.custodian_id, dispatch.file_name, dispatch.sha256, dispatch.content)
            for dispatch in dispatches
        ],
    )


def _refuse_other_contents(
    cursor: Cursor[TupleRow],
    published: Publication,
    manifest: Mapping[str, DatasetManifest],
    dispatches: Sequence[Dispatch],
) -> None:
    cursor.execute(
        "SELECT custodian_id, file_name, sha256 FROM control.dispatches WHERE run_date = %s",
        [published.run_date],
    )
    sent = {f"{custodian_id}/{file_name}": sha256 for custodian_id, file_name, sha256 in cursor}
    sending = {
        f"{dispatch.custodian_id}/{dispatch.file_name}": dispatch.sha256 for dispatch in dispatches
    }
    differing = [
        *(
            name
            for name in manifest.keys() | published.manifest.keys()
            if manifest.get(name) != published.manifest.get(name)
        ),
        *(name for name in sent.keys() | sending.keys() if sent.get(name) != sending.get(name)),
    ]
    if differing:
        raise PublicationConflict(published.run_date, sorted(differing))
