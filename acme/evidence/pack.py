"""The evidence of one published date as a zip: the same bytes whenever and wherever it is made.

Members are stored uncompressed, in the order of their names, with one fixed time: the bytes follow
from what was published alone. `index.html` is what a person reads first; `manifest.json` has the
SHA-256 of every other member. No order and no member of the scheme is in it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from tempfile import TemporaryFile
from typing import IO, Any, Final

import polars as pl

from acme.domain.proofs import SealHeader
from acme.evidence.damage import damages
from acme.evidence.inclusion import BATCHES, LINES, header_of
from acme.evidence.keys import public_key, verify_signature
from acme.lakehouse.control import Dispatch, Publication
from acme.lakehouse.csv_writing import RFC_3339
from acme.lakehouse.lake import Partition, PartitionDamagedError
from acme.lakehouse.platform import Platform

FORMAT: Final = "acme-evidence-1"
STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}"
    "table{border-collapse:collapse;margin:0 0 1.5rem}caption{text-align:left;font-weight:600}"
    "th,td{border:1px solid #888;padding:.25rem .5rem;text-align:left;vertical-align:top}"
    "td{overflow-wrap:anywhere}code{font-size:.85em}"
)
# The earliest time that a zip can hold.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16
_UNIX: Final = 3
_SLICE_ROWS: Final = 50_000
_BLOCK_BYTES: Final = 1 << 20
# Members that are tables of the date, as they were published.
TABLES: Final = {
    "batch_lines.csv": LINES,
    "batches.csv": BATCHES,
    "break_actions.csv": "core.break_actions",
    "breaks.csv": "core.reconciliation_breaks",
    "checks.csv": "core.check_results",
    "landed_files.csv": "core.landed_files",
    "run_inputs.csv": "core.run_inputs",
    "suspended_assets.csv": "core.suspended_assets",
}
WHAT: Final = {
    "batch_lines.csv": "Lines of the batches: gross, crossed and net.",
    "batches.csv": "Batches sealed on the date.",
    "break_actions.csv": "What people did about breaks, applied or refused.",
    "breaks.csv": "Reconciliation breaks that the date's run found, with their state.",
    "checks.csv": "Every check of the date and what it found.",
    "dispatches.csv": "Files for custodians, with the SHA-256 they were published with.",
    "landed_files.csv": "Files the run took note of, accepted or not, with their SHA-256.",
    "publication.json": "What was published: rows and content hash of every dataset.",
    "run_inputs.csv": "The files the run read, fixed before anything was computed.",
    "seals.json": "Seal, signature and sealed header of every batch, and the seal before it.",
    "suspended_assets.csv": "Assets that did not deal, and why.",
    "versions.json": "Versions of rules, code and prices that the seals name.",
}


class NotPublishedError(Exception):
    """There is no evidence of a date that is not published."""


@dataclass(frozen=True)
class _Member:
    name: str
    sha256: str
    offset: int
    size: int


class _Spool:
    """Members written one after the other to a temporary file, hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.members: dict[str, _Member] = {}

    def add(self, name: str, blocks: Iterable[bytes]) -> None:
        digest, offset = hashlib.sha256(), self._file.seek(0, 2)
        size = 0
        for block in blocks:
            digest.update(block)
            size += self._file.write(block)
        self.members[name] = _Member(name, digest.hexdigest(), offset, size)

    def blocks(self, name: str) -> Iterator[bytes]:
        member = self.members[name]
        self._file.seek(member.offset)
        left = member.size
        while left:
            block = self._file.read(min(left, _BLOCK_BYTES))
            left -= len(block)
            yield block


@dataclass(frozen=True)
class Evidence:
    """What the pack of a date is made from, all of it verified."""

    run_date: date
    publication: Publication
    partitions: dict[str, Partition]
    tables: dict[str, pl.DataFrame]
    dispatches: list[Dispatch]
    headers: list[tuple[dict[str, Any], SealHeader]]
    public_key: str


def collect(platform: Platform, run_date: date) -> Evidence:
    """Read the evidence of a published date; raises `NotPublishedError`, or where it is damaged."""
    publication = platform.control.publication(run_date)
    if publication is None:
        raise NotPublishedError(f"{run_date} is not published: there is no evidence of it")
    wrong = damages(platform.lake, publication)
    if wrong:
        # A pack names the hash of every table; one that is no more is not to be vouched for.
        raise PartitionDamagedError(f"there is no evidence of what is damaged: {'; '.join(wrong)}")
    tables = platform.lake.read(run_date, TABLES.values())
    batches = tables[BATCHES].sort("book").to_dicts()
    return Evidence(
        run_date=run_date,
        publication=publication,
        partitions=platform.lake.manifest(run_date),
        tables=tables,
        dispatches=platform.control.dispatches(run_date),
        headers=[
            (b, header_of(b, tables[LINES].filter(pl.col("batch_id") == b["batch_id"])))
            for b in batches
        ],
        public_key=public_key(platform.home),
    )


def write(evidence: Evidence, target: IO[bytes]) -> None:
    """Write the zip to a file that can seek, in bounded memory."""
    with TemporaryFile() as file:
        spool = _Spool(file)
        for name, blocks in _members(evidence):
            spool.add(name, blocks)
        spool.add("index.html", [_index(evidence, spool.members)])
        stated = {
            "format": FORMAT,
            "run_date": evidence.run_date.isoformat(),
            "members": {m.name: {"sha256": m.sha256, "bytes": m.size} for m in _sorted(spool)},
        }
        spool.add("manifest.json", [_json(stated)])
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as pack:
            for member in _sorted(spool):
                info = zipfile.ZipInfo(member.name, _TIME)
                info.create_system, info.external_attr = _UNIX, _MODE
                info.file_size = member.size
                with pack.open(info, "w") as out:
                    for block in spool.blocks(member.name):
                        out.write(block)


def _sorted(spool: _Spool) -> list[_Member]:
    return [spool.members[name] for name in sorted(spool.members)]


def _members(evidence: Evidence) -> Iterator[tuple[str, Iterable[bytes]]]:
    for name, dataset in TABLES.items():
        yield name, csv_blocks(evidence.tables[dataset])
    yield "dispatches.csv", csv_blocks(_dispatches(evidence))
    yield "publication.json", [_json(_publication(evidence))]
    yield "seals.json", [_json(_seals(evidence))]
    yield "versions.json", [_json(_versions(evidence))]


def csv_blocks(frame: pl.DataFrame) -> Iterator[bytes]:
    """Yield a table as CSV, as `acme export` writes it."""
    yield frame.clear().write_csv().encode()
    for rows in frame.iter_slices(_SLICE_ROWS):
        yield rows.write_csv(include_header=False, datetime_format=RFC_3339).encode()


def _publication(evidence: Evidence) -> dict[str, Any]:
    publication = evidence.publication
    return {
        "run_date": evidence.run_date.isoformat(),
        "published_at": _instant(publication.published_at),
        "snapshot_id": publication.snapshot_id,
        "seals": publication.seals,
        "datasets": {
            name: {
                "rows": stated.rows,
                "content_sha256": stated.content_sha256,
                "file_sha256": evidence.partitions[name].sha256 if stated.rows else None,
            }
            for name, stated in publication.manifest.items()
        },
    }


def _seals(evidence: Evidence) -> dict[str, Any]:
    return {
        "public_key": evidence.public_key,
        "batches": [
            {
                "batch_id": batch["batch_id"],
                "book": batch["book"],
                "header": header.canonical().decode(),
                "seal": batch["seal"],
                "previous_seal": batch["previous_seal"],
                "merkle_root": batch["merkle_root"],
                "signature": batch["signature"],
                "signed": verify_signature(
                    evidence.public_key, batch["signature"], header.canonical()
                ),
            }
            for batch, header in evidence.headers
        ],
    }


def _versions(evidence: Evidence) -> dict[str, Any]:
    names = ("rules_version", "code_version", "price_date", "price_version")
    return {
        batch["batch_id"]: {name: getattr(header, name) for name in names}
        for batch, header in evidence.headers
    }


def _dispatches(evidence: Evidence) -> pl.DataFrame:
    return pl.DataFrame(
        [(d.custodian_id, d.file_name, d.sha256, len(d.content)) for d in evidence.dispatches],
        schema={
            "custodian_id": pl.String,
            "file_name": pl.String,
            "sha256": pl.String,
            "bytes": pl.Int64,
        },
        orient="row",
    )


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


# ---- what a person reads first -----------------------------------------------------------------


def _index(evidence: Evidence, members: dict[str, _Member]) -> bytes:
    checks = evidence.tables[TABLES["checks.csv"]]
    breaks = evidence.tables[TABLES["breaks.csv"]]
    passed = checks.filter("passed").height
    states = breaks.group_by("state").len().sort("state").iter_rows()
    title = f"Evidence of {evidence.run_date}"
    body = [
        f"<h1>{title}</h1>",
        (
            f"<p>Published at <time>{_instant(evidence.publication.published_at)}</time>."
            f" {passed} of {checks.height} checks passed;"
            f" breaks: {escape(', '.join(f'{n} {s}' for s, n in states)) or 'none'}.</p>"
        ),
        html_table(
            "Batches",
            ("batch", "orders", "lines", "seal", "seal before", "signature"),
            [
                (
                    batch["batch_id"],
                    batch["order_count"],
                    batch["line_count"],
                    batch["seal"],
                    batch["previous_seal"],
                    "valid"
                    if verify_signature(evidence.public_key, batch["signature"], header.canonical())
                    else "NOT VALID",
                )
                for batch, header in evidence.headers
            ],
        ),
        html_table(
            "Checks that found something",
            ("check", "blocking", "failures", "first"),
            checks.filter(~pl.col("passed"))
            .sort("check_name")
            .select("check_name", "blocking", "failures", "detail")
            .rows(),
        ),
        html_table(
            "Files in this pack",
            ("file", "what it is", "SHA-256"),
            [(name, WHAT[name], members[name].sha256) for name in sorted(members)],
        ),
        (
            "<p><code>manifest.json</code> has the SHA-256 of this page and of every file above. A"
            " batch's seal is the SHA-256 of its <code>header</code> in <code>seals.json</code>;"
            " the signature over that text is Ed25519, by <code>public_key</code>. Each seal names"
            " the one before it of its book.</p>"
        ),
    ]
    return html_page(title, "\n".join(body)).encode()


def html_page(title: str, body: str) -> str:
    """Return a whole page; `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def html_table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table, everything in it escaped; says so where there is no row."""
    lines = [
        "<tr>" + "".join(f"<td>{escape('' if v is None else str(v))}</td>" for v in row) + "</tr>"
        for row in rows
    ]
    if not lines:
        return f"<p>{escape(caption)}: none.</p>"
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    return (
        f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        "<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>"
    )
