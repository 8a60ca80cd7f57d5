"""What happens when a file arrives: stored, judged by its contract, registered, never lost.

`land_file` takes one file, `sweep_inbox` every file that waits, `read_landed` gives the rows of
an accepted file back after its bytes were verified (rules §10). What the rows mean to a run is
not decided here.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import polars as pl

from acme.lakehouse import contracts
from acme.lakehouse.arrow_memory import arrow_owned
from acme.lakehouse.contracts import Contract, feed_names
from acme.lakehouse.control import Detail, LandedFile, ReferenceKind, Scheme, Verdict
from acme.lakehouse.csv_reading import ROW, header_findings, quoting_findings, typed_batches
from acme.lakehouse.failpoints import reach
from acme.lakehouse.files import make_folder, write_atomic
from acme.lakehouse.findings import KEPT_MAX, Finding, Findings, findings_json, shown
from acme.lakehouse.home import Home
from acme.lakehouse.landing_rules import Context, Repeats, Rules, holiday_key, repeats
from acme.lakehouse.raw_files import RawFacts, store, stored_path

_SIDECAR: Final = ".sha256"
_SIDECAR_BYTES_MAX: Final = 4096
_SHA256_DIGITS: Final = 64
_UNFINISHED: Final = (".tmp", ".part", _SIDECAR)
# Shorter than .sha256, so that what has a .sha256 has room for it.
_RETIRED: Final = ".taken"
# Room for `.<sha>.report.json` in a file name of at most 255 bytes.
_NAME_BYTES_MAX: Final = 200

EXIT_ACCEPTED: Final = 0
EXIT_QUARANTINED: Final = 1
EXIT_WITH_REMARKS: Final = 3


class LandingError(Exception):
    """A file cannot be landed at all: no such feed, no such file, not readable."""


class LandedFileDamaged(Exception):  # noqa: N818  a state of the world, not of the caller
    """The stored bytes of a landed file are missing or are not those that were landed."""


class LandingControl(Protocol):
    """What landing needs of `Control`."""

    def scheme(self) -> Scheme:
        """The scheme."""

    def file_by_sha(self, feed: str, file_sha256: str) -> LandedFile | None:
        """The landed file of `feed` with these bytes, the accepted one if there is one."""

    def accepted_name_exists(self, feed: str, name: str) -> bool:
        """Whether a file of that name was accepted."""

    def known(self, kind: ReferenceKind, keys: Iterable[str]) -> dict[str, Detail]:
        """Details of those of `keys` that are known."""

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
        """Record the file and the keys it makes known in one transaction."""


@dataclass(frozen=True)
class LandingReport:
    """What became of one file.

    `findings` are at most 100, errors first; `counts` has the number of each rule. `sequence` is
    that of the registered file, None where nothing was registered. `again`: the same bytes were
    accepted before, so that they have no effect. `report_path` is the quarantine report.
    """

    feed: str
    name: str
    file_sha256: str
    size: int
    rows: int
    verdict: Verdict
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    sequence: int | None = None
    again: bool = False
    report_path: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 accepted; 1 quarantined; 3 accepted, but some rows or the whole have no effect."""
        if self.verdict == "quarantined":
            return EXIT_QUARANTINED
        return EXIT_WITH_REMARKS if self.again or self.findings else EXIT_ACCEPTED

    def as_json(self) -> dict[str, object]:
        """The report as a JSON object, as `--json` prints it and quarantine keeps it."""
        return {
            "feed": self.feed,
            "name": self.name,
            "file_sha256": self.file_sha256,
            "size": self.size,
            "rows": self.rows,
            "verdict": self.verdict,
            "already_landed": self.again,
            "sequence": self.sequence,
            "counts": dict(self.counts),
            "findings": [finding.as_json() for finding in self.findings],
        }


def render(report: LandingReport, *, findings_max: int = 20) -> str:
    """The report for people, with at most `findings_max` findings, ending in a line feed."""
    subject = f"{report.feed}/{report.name}" if report.name else report.feed
    verdict: str = report.verdict
    if report.again:
        verdict = "already landed, no effect"
    lines = [f"{subject}: {verdict} ({report.rows} rows, {report.size} bytes)"]
    if report.file_sha256:
        lines.append(f"  sha256 {report.file_sha256}")
    listed = report.findings[:findings_max]
    lines += [f"  {finding}" for finding in listed]
    total = sum(report.counts.values())
    if total > len(listed):
        lines.append(f"  {total} findings in all, the first {len(listed)} are shown:")
        lines += [f"    {rule}: {count}" for rule, count in report.counts.items()]
    if report.report_path is not None:
        lines.append(f"  report: {report.report_path}")
    return "\n".join(lines) + "\n"


# ---- one file -----------------------------------------------------------------------------------


def land_file(
    home: Home,
    control: LandingControl,
    feed: str,
    path: Path,
    *,
    clock_known_at: datetime | None = None,
) -> LandingReport:
    """Store, judge and register the file at `path`; the file itself stays where it is.

    `clock_known_at` becomes the time of receipt (default: the database's clock). A file that
    breaks its contract is quarantined whole, with a report below `quarantine/<feed>/`; it is
    stored and registered all the same. Bytes that were accepted before have no effect; bytes that
    were quarantined are judged again, since what they refer to may have been landed meanwhile.
    Raises LandingError for an unknown feed or an unreadable file, OSError for a full disk.
    """
    contract = feed_contract(feed)
    with _open(path) as source:
        facts = store(source, home.landed)
    return _judge_and_register(
        home, control, contract, path, facts=facts, received_at=clock_known_at
    )


def feed_contract(feed: str) -> Contract:
    """The contract of a feed; LandingError names the feeds there are."""
    if feed not in feed_names():
        message = f"no feed {feed!r}: expected one of {', '.join(feed_names())}"
        raise LandingError(message)
    try:
        return contracts.feed(feed)
    except contracts.ContractError as error:
        # A contract that cannot be read keeps the files of its own feed waiting, and no others.
        raise LandingError(str(error)) from error


def _open(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            message = f"{path}: expected a regular file"
            raise LandingError(message)
        return path.open("rb")
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise LandingError(message) from error


def _judge_and_register(
    home: Home,
    control: LandingControl,
    contract: Contract,
    path: Path,
    *,
    facts: RawFacts,
    received_at: datetime | None,
) -> LandingReport:
    name = storable_name(path)
    findings = Findings()
    vouched = _check_sidecar(path, facts, findings)
    landed = control.file_by_sha(contract.name, facts.file_sha256)
    if landed is not None and landed.verdict == "accepted" and not findings.has_error:
        return _report(contract, name, facts, findings, landed, again=True)
    is_new = landed is None or landed.verdict != "accepted"
    if is_new and control.accepted_name_exists(contract.name, name):
        expected = "a new name for new contents: a file of this name was accepted before"
        findings.add(Finding("error", "name_reused", None, None, expected, shown(name)))
    for finding in facts.findings(vouched=vouched):
        findings.add(finding)
    judged = _Judged({})
    if not findings.has_error:
        judged = _judge(
            stored_path(home.landed, facts.file_sha256), contract, control, facts, findings
        )
    verdict: Verdict = "quarantined" if findings.has_error else "accepted"
    reach("landing.register:before")
    landed = control.register_file(
        feed=contract.name,
        name=name,
        file_sha256=facts.file_sha256,
        size=facts.size,
        rows=facts.rows,
        verdict=verdict,
        findings=findings_json(findings.kept, findings.counts),
        received_at=received_at,
        reference_keys={} if findings.has_error else judged.reference_keys,
    )
    reach("landing.register:after")
    report = _report(contract, name, facts, findings, landed)
    return _write_quarantine_report(home, report) if findings.has_error else report


def _report(
    contract: Contract,
    name: str,
    facts: RawFacts,
    findings: Findings,
    landed: LandedFile,
    *,
    again: bool = False,
) -> LandingReport:
    return LandingReport(
        feed=contract.name,
        name=name,
        file_sha256=facts.file_sha256,
        size=facts.size,
        rows=facts.rows,
        verdict="quarantined" if findings.has_error else "accepted",
        findings=findings.kept,
        counts=findings.counts,
        sequence=landed.sequence,
        again=again,
    )


def storable_name(path: Path) -> str:
    r"""The file's name as text: bytes that are no UTF-8 appear as `\xNN`."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def sidecar_of(path: Path) -> Path:
    """Where the file's SHA-256 may lie: `NAME.sha256` beside `NAME`."""
    return path.with_name(path.name + _SIDECAR)


def _check_sidecar(path: Path, facts: RawFacts, findings: Findings) -> bool:
    """Whether a sibling .sha256 vouches for the bytes; one that does not is an error."""
    sidecar = sidecar_of(path)
    try:
        with sidecar.open("rb") as stream:
            content = stream.read(_SIDECAR_BYTES_MAX)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # then there can be none
            return False
        message = f"{sidecar}: cannot be read: {error.strerror}"
        raise LandingError(message) from error
    if _vouches(content, path.name, facts.file_sha256):
        return True
    expected = f"{facts.file_sha256}, optionally with two spaces and the file's name"
    got = shown(content.decode(errors="replace").strip())
    findings.add(Finding("error", "sha256_mismatch", None, None, expected, got))
    return False


def _vouches(content: bytes, name: str, file_sha256: str) -> bool:
    """Whether `<hex>` or `<hex>  name` (sha256sum, also its binary ` *name`) is these bytes'."""
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    digest, rest = line[:_SHA256_DIGITS], line[_SHA256_DIGITS:]
    encoded = os.fsencode(name)
    return digest.lower() == file_sha256.encode() and rest in (
        b"",
        b"  " + encoded,
        b" *" + encoded,
    )


# ---- judging the contents -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Judged:
    """What an accepted file makes known."""

    reference_keys: Mapping[ReferenceKind, Mapping[str, Detail]]


def _judge(
    stored: Path,
    contract: Contract,
    control: LandingControl,
    facts: RawFacts,
    findings: Findings,
) -> _Judged:
    """Check header, quoting and every row of the stored file; adds to `findings`."""
    for finding in _shape_findings(stored, contract, facts):
        findings.add(finding)
    if findings.has_error or facts.rows == 0:
        return _Judged({})
    context = Context(control.scheme().currency, _Lookup(control))
    rules = Rules(contract, context)
    reference = _ReferenceRows(contract)
    hashes: list[pl.DataFrame] = []
    for frame in typed_batches(contract, stored, has_quote=facts.has_quote, findings=findings):
        rules.check(frame, findings)
        reference.take(frame)
        hashes.append(_hashes(contract, frame))
    rules.finish(findings)
    if findings.has_error:
        return _Judged({})
    again = _repeated_rows(stored, contract, facts, pl.concat(hashes))
    if again is not None:
        _remark_on_repeats(contract, again, findings)
    return _Judged(reference.keys(None if again is None else again.conflicting, context))


@dataclass(frozen=True)
class _Lookup:
    """`Control.known` for rules, which take kinds from contracts as plain text."""

    control: LandingControl

    def __call__(self, kind: str, keys: Iterable[str]) -> Mapping[str, Detail]:
        return self.control.known(cast("ReferenceKind", kind), keys)


def _shape_findings(stored: Path, contract: Contract, facts: RawFacts) -> list[Finding]:
    with stored.open("rb") as stream:
        first_line = stream.readline().removesuffix(b"\n").removesuffix(b"\r")
        found = header_findings(contract, first_line)
        if not found and facts.has_quote:
            stream.seek(0)
            found = quoting_findings(stream)
    return found


def _hashes(contract: Contract, frame: pl.DataFrame) -> pl.DataFrame:
    """16 bytes for each row by which repeats are suspected: hashes of its key and its values."""
    key = list(contract.key or contract.column_names)
    return pl.DataFrame({"key": frame.select(key).hash_rows()})


def _repeated_rows(
    stored: Path, contract: Contract, facts: RawFacts, hashes: pl.DataFrame
) -> Repeats | None:
    """The rows whose key occurs more than once, parted exactly; None where there are none.

    A second reading, of a file that has any: so the usual file is never held as a whole.
    """
    keys = hashes.get_column("key")
    suspected = keys.filter(keys.is_duplicated()).unique()
    if suspected.is_empty():
        return None
    rows = []
    for frame in typed_batches(contract, stored, has_quote=facts.has_quote, findings=Findings()):
        own = _hashes(contract, frame).get_column("key")
        rows.append(frame.filter(own.is_in(suspected.implode())))
    return repeats(contract, pl.concat(rows))


def _remark_on_repeats(contract: Contract, found: Repeats, findings: Findings) -> None:
    names = contract.key or contract.column_names
    named = {rule.name for rule in contract.rules}
    for rule, expected, rows in (
        ("duplicate_row", "each row once; equal ones are dropped", found.dropped),
        (
            "conflicting_rows",
            "one row per key; the key is on hold until a later file decides",
            found.conflicting.sort(ROW),
        ),
    ):
        if rule not in named:
            continue
        findings.add_all(
            (
                Finding(
                    "remark",
                    rule,
                    row[ROW],
                    ",".join(names),
                    expected,
                    shown(",".join(contracts.canonical_value(row[name]) for name in names)),
                )
                for row in rows.head(KEPT_MAX).iter_rows(named=True)
            ),
            rows.height,
        )


# ---- what an accepted file makes known ----------------------------------------------------------


class _ReferenceRows:
    """Collects the columns of a reference file from which its keys are made."""

    _COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
        "holidays": ("calendar_id", "holiday"),
        "assets": ("asset_id", "custodian_id", "unit_decimals", "currency", "valid_from"),
        "risk_profiles": ("risk_profile_id", "asset_id", "valid_from"),
        "risk_profile_parameters": ("risk_profile_id", "valid_from"),
        "pots": ("pot_id", "book"),
    }

    def __init__(self, contract: Contract) -> None:
        """Collect for this feed; nothing is kept of a feed that makes nothing known."""
        self._contract = contract
        self._names = self._COLUMNS.get(contract.name)
        self._frames: list[pl.DataFrame] = []

    def take(self, frame: pl.DataFrame) -> None:
        """Keep what is needed of one batch."""
        if self._names is not None:
            self._frames.append(frame.select(self._names))

    def keys(
        self, held: pl.DataFrame | None, context: Context
    ) -> dict[ReferenceKind, dict[str, Detail]]:
        """The keys made known, without those in `held`, whose values disagree."""
        if self._names is None or not self._frames:
            return {}
        rows = pl.concat(self._frames).unique(maintain_order=True)
        if held is not None and not held.is_empty():
            rows = rows.join(held, on=list(self._contract.key), how="anti", maintain_order="left")
        match self._contract.name:
            case "holidays":
                return {"holiday": {holiday_key(*row): {} for row in rows.iter_rows()}}
            case "assets":
                return {"asset": _asset_details(rows, context)}
            case "pots":
                details: dict[str, Detail] = {
                    "live": {"book": "live"},
                    "canary": {"book": "canary"},
                }
                return {"pot": {pot_id: details[book] for pot_id, book in rows.iter_rows()}}
            case _:
                profiles = rows.get_column("risk_profile_id").unique(maintain_order=True)
                return {"risk_profile": {profile: {} for profile in profiles}}


def _asset_details(rows: pl.DataFrame, context: Context) -> dict[str, Detail]:
    """Details of assets: the newest version's, and `versions` with those of earlier files."""
    known = context.known("asset", rows.get_column("asset_id").unique().to_list())
    versions: dict[str, dict[str, Detail]] = {
        asset_id: {version["valid_from"]: version for version in detail["versions"]}
        for asset_id, detail in known.items()
    }
    for row in rows.iter_rows(named=True):
        valid_from = row["valid_from"].isoformat()
        versions.setdefault(row["asset_id"], {})[valid_from] = {
            "custodian_id": row["custodian_id"],
            "unit_decimals": row["unit_decimals"],
            "currency": row["currency"],
            "valid_from": valid_from,
        }
    return {
        asset_id: {
            **by_date[max(by_date)],
            "versions": [by_date[valid_from] for valid_from in sorted(by_date)],
        }
        for asset_id, by_date in versions.items()
    }


# ---- quarantine ---------------------------------------------------------------------------------


def _write_quarantine_report(home: Home, report: LandingReport) -> LandingReport:
    folder = home.quarantine / report.feed
    make_folder(folder)
    name = report.name.encode()[:_NAME_BYTES_MAX].decode(errors="ignore")
    stem = f"{name}.{report.file_sha256[:12]}.report"
    document = json.dumps(report.as_json(), ensure_ascii=False, indent=2) + "\n"
    path = folder / f"{stem}.json"
    write_atomic(path, document.encode())
    write_atomic(folder / f"{stem}.txt", render(report, findings_max=KEPT_MAX).encode())
    return LandingReport(**{**vars(report), "report_path": path})


# ---- the inbox ----------------------------------------------------------------------------------


def sweep_inbox(
    home: Home, control: LandingControl, *, clock_known_at: datetime | None = None
) -> list[LandingReport]:
    """Land every file that waits, feeds in landing order and files by name; reports in that order.

    A file and its .sha256 leave the inbox once the file is durably stored and registered, so a
    sweep that is cut short is simply swept again; `.NAME.taken` is what such a one had still to
    remove. Left alone: other names that begin with a dot or end in .tmp, .part or .sha256. A
    folder that is no feed, and what is no regular file, is reported and left where it is. Raises
    what `land_file` raises, except for single files.
    """
    reports = [_stray(path, rule) for path, rule in _strays(home.inbox)]
    for feed in feed_names():
        _finish_removals(home.inbox / feed)
        for path in _waiting(home.inbox / feed):
            report = _land_waiting(home, control, feed, path, clock_known_at)
            if report is not None:
                reports.append(report)
    return reports


def waiting_files(home: Home) -> list[tuple[str, Path]]:
    """(feed, path) of every file that the next sweep lands, in its order."""
    return [(feed, path) for feed in feed_names() for path in _waiting(home.inbox / feed)]


def _waiting(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if _is_offered(path)),
        key=lambda path: os.fsencode(path.name),
    )


def _is_offered(path: Path) -> bool:
    return not path.name.startswith(".") and not path.name.endswith(_UNFINISHED)


def _land_waiting(
    home: Home,
    control: LandingControl,
    feed: str,
    path: Path,
    received_at: datetime | None,
) -> LandingReport | None:
    """Land one file and take it out of the inbox; None if somebody else just did."""
    try:
        before = path.lstat()
        if not stat.S_ISREG(before.st_mode):
            return _stray(path, "not_a_file")
        report = land_file(home, control, feed, path, clock_known_at=received_at)
    except FileNotFoundError:
        return None
    except LandingError as error:
        if not path.exists():
            return None
        finding = Finding("error", "unreadable", None, None, "a file that can be read", str(error))
        return _unregistered(feed, storable_name(path), finding)
    _remove(path, before)
    reach("landing.remove:after")
    return report


def _remove(path: Path, landed: os.stat_result) -> None:
    """Take a landed file out of the inbox, unless another one has taken its place meanwhile."""
    try:
        now = path.lstat()
    except FileNotFoundError:
        return
    same = ("st_ino", "st_size", "st_mtime_ns")
    if any(getattr(now, name) != getattr(landed, name) for name in same):
        return
    if not os.path.lexists(sidecar_of(path)):
        path.unlink(missing_ok=True)
        return
    # Never the .sha256 first: without it, bytes that it did not vouch for would be judged well.
    retired = path.with_name(f".{path.name}{_RETIRED}")
    path.replace(retired)
    reach("landing.retire:after")
    _finish_removal(retired)


def _finish_removals(folder: Path) -> None:
    """Remove what a sweep that was cut short had landed, and was about to remove."""
    for retired in folder.glob(f".*{_RETIRED}"):
        _finish_removal(retired)


def _finish_removal(retired: Path) -> None:
    """Remove a landed file and the .sha256 that came with it, not one that came since."""
    sidecar = sidecar_of(retired.with_name(retired.name[1 : -len(_RETIRED)]))
    with contextlib.suppress(OSError):
        # Set by the system when the file got its other name, and when the .sha256 came.
        if sidecar.lstat().st_ctime_ns <= retired.lstat().st_ctime_ns:
            sidecar.unlink()
    reach("landing.unvouch:after")
    retired.unlink(missing_ok=True)


def _strays(inbox: Path) -> Iterator[tuple[Path, str]]:
    """What lies in the inbox outside the folders of feeds."""
    if not inbox.is_dir():
        return
    for path in sorted(inbox.iterdir()):
        if not _is_offered(path) or path.name in feed_names():
            continue
        if not path.is_dir() or any(map(_is_offered, path.iterdir())):
            yield path, "unknown_feed"


def _stray(path: Path, rule: str) -> LandingReport:
    expected = (
        "a regular file" if rule == "not_a_file" else f"a folder named {', '.join(feed_names())}"
    )
    finding = Finding("error", rule, None, None, expected, shown(storable_name(path)))
    is_in_feed = rule == "not_a_file"
    feed = path.parent.name if is_in_feed else storable_name(path)
    return _unregistered(feed, storable_name(path) if is_in_feed else "", finding)


def _unregistered(feed: str, name: str, finding: Finding) -> LandingReport:
    return LandingReport(
        feed=feed,
        name=name,
        file_sha256="",
        size=0,
        rows=0,
        verdict="quarantined",
        findings=(finding,),
        counts={finding.rule: 1},
    )


# ---- reading back -------------------------------------------------------------------------------


def read_landed(home: Home, contract: Contract, file_sha256: str) -> pl.DataFrame:
    """Rows of an accepted file: the contract's columns with their dtypes, and `row` BIGINT.

    `row` is the line of the file, the header being line 1; rows come in file order, repeated and
    conflicting ones included (`landing_rules.repeats` parts them). Empty fields are null. The
    bytes are read once, hashed, and parsed from the same buffer. Raises LandedFileDamaged if they
    are missing, have another SHA-256, or do not meet the contract, as no accepted file can.
    """
    path = stored_path(home.landed, file_sha256)
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"landed file {file_sha256} of {contract.name}: {error.strerror}"
        raise LandedFileDamaged(message) from error
    got = hashlib.sha256(content).hexdigest()
    if got != file_sha256:
        message = f"landed file of {contract.name}: expected SHA-256 {file_sha256}, got {got}"
        raise LandedFileDamaged(message)
    findings = Findings()
    schema = {**contract.polars_schema, ROW: pl.Int64()}
    _header, _line_feed, records = content.partition(b"\n")
    if not records:
        return pl.DataFrame(schema=schema)
    frames = list(
        typed_batches(contract, arrow_owned(content), has_quote=b'"' in content, findings=findings)
    )
    if findings.has_error:
        message = f"landed file {file_sha256} of {contract.name}: {findings.kept[0]}"
        raise LandedFileDamaged(message)
    return pl.concat([pl.DataFrame(schema=schema), *frames])
