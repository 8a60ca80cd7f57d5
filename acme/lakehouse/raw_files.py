"""One pass over the raw bytes of an arriving file: hash, shape, durable copy; no column is read.

Memory is bounded by the chunk, whatever the file holds: a line of any length, no line end at
all, no text. Everything that would make two readers see different rows is found here.
"""

import codecs
import contextlib
import hashlib
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from acme.lakehouse.failpoints import reach
from acme.lakehouse.files import fsync_folder, naming
from acme.lakehouse.findings import Finding

LINE_BYTES_MAX: Final = 1 << 20
# Not above LINE_BYTES_MAX: a line inside one chunk is then never too long.
_CHUNK_BYTES: Final = 1 << 20
_ZEROS: Final = bytes(_CHUNK_BYTES)
_LONE_CARRIAGE_RETURN: Final = re.compile(rb"\r(?!\n|\Z)")


@dataclass
class RawFacts:
    """What the bytes say. The `*_row` are lines counted from 1, None where there is no such."""

    file_sha256: str = ""
    size: int = 0
    line_feeds: int = 0
    ends_in_line_feed: bool = False
    has_quote: bool = False
    has_byte_order_mark: bool = False
    not_utf8_row: int | None = None
    nul_row: int | None = None
    lone_carriage_return_row: int | None = None
    too_long_row: int | None = None

    @property
    def lines(self) -> int:
        """Lines of the file, a last one without line feed included."""
        return self.line_feeds + (1 if self.size and not self.ends_in_line_feed else 0)

    @property
    def rows(self) -> int:
        """Data rows: the lines without the header."""
        return max(self.lines - 1, 0)

    def findings(self, *, vouched: bool) -> list[Finding]:
        """Errors of the bytes; `vouched`: a matching .sha256 says the file is complete."""
        if self.size == 0:
            return [Finding("error", "empty_file", None, None, "a header line", "0 bytes")]
        found = []
        if self.has_byte_order_mark:
            found.append(
                Finding("error", "byte_order_mark", 1, None, "UTF-8 without byte order mark", None)
            )
        expected_line = f"lines of at most {LINE_BYTES_MAX} bytes"
        rows = (
            ("not_utf8", self.not_utf8_row, "UTF-8"),
            ("nul_byte", self.nul_row, "no NUL byte"),
            ("line_ending", self.lone_carriage_return_row, "lines that end in LF or CR LF"),
            ("line_too_long", self.too_long_row, expected_line),
        )
        found += [
            Finding("error", rule, row, None, expected)
            for rule, row, expected in rows
            if row is not None
        ]
        if not self.ends_in_line_feed and not vouched:
            found.append(
                Finding(
                    "error",
                    "truncated",
                    self.lines,
                    None,
                    "a line feed at the end, or a .sha256 that vouches for the file",
                    "an unfinished last line",
                )
            )
        return found


def store(source: BinaryIO, landed: Path) -> RawFacts:
    """Copy `source` into the content-addressed store below `landed` and tell its facts.

    One pass: what is hashed is what is stored, even if the source changes meanwhile. The copy is
    flushed to disk under its final name before this returns; a copy that is there already is kept.
    Raises OSError where the disk does not take it, and leaves no half file.
    """
    with naming(landed):
        return _store(source, landed)


def _store(source: BinaryIO, landed: Path) -> RawFacts:
    landed.mkdir(parents=True, exist_ok=True)
    reach("landing.copy:before")
    temporary = landed / f".{secrets.token_hex(12)}.tmp"
    scan = Scan()
    try:
        with temporary.open("xb") as copy:
            while chunk := source.read(_CHUNK_BYTES):
                scan.take(chunk)
                if chunk == _ZEROS:
                    copy.seek(len(chunk), os.SEEK_CUR)  # a hole reads back as the same zeros
                else:
                    copy.write(chunk)
            copy.truncate(scan.facts.size)
            copy.flush()
            os.fsync(copy.fileno())
        facts = scan.finish()
        reach("landing.store:before")
        _move_into_store(temporary, stored_path(landed, facts.file_sha256))
        reach("landing.store:after")
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return facts


def stored_path(landed: Path, file_sha256: str) -> Path:
    """Where the bytes with that SHA-256 lie."""
    return landed / file_sha256[:2] / file_sha256


def _move_into_store(temporary: Path, target: Path) -> None:
    """Put the flushed copy under its content's name; both folders survive a power cut."""
    target.parent.mkdir(exist_ok=True)
    fsync_folder(target.parent.parent)
    # Also where it is there already: the new copy is known to be whole, the old one is not.
    temporary.replace(target)
    fsync_folder(target.parent)


@dataclass
class Scan:
    """The state of the pass: `take` every chunk in order, then `finish`."""

    facts: RawFacts = field(default_factory=RawFacts)
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _line_bytes: int = 0
    _last: bytes = b""
    _unfinished: bytes = b""

    def take(self, chunk: bytes) -> None:
        """Look at the next chunk, of at most LINE_BYTES_MAX bytes."""
        facts = self.facts
        if facts.size == 0:
            facts.has_byte_order_mark = chunk.startswith(codecs.BOM_UTF8)
        self._digest.update(chunk)
        if facts.too_long_row is None:
            self._look(chunk)
        facts.line_feeds += chunk.count(b"\n")
        facts.size += len(chunk)
        self._last = chunk[-1:]

    def finish(self) -> RawFacts:
        """The facts of all chunks taken."""
        facts = self.facts
        if self._unfinished and facts.not_utf8_row is None and facts.too_long_row is None:
            facts.not_utf8_row = facts.line_feeds + 1
        facts.ends_in_line_feed = self._last == b"\n"
        facts.file_sha256 = self._digest.hexdigest()
        return facts

    def _look(self, chunk: bytes) -> None:
        facts = self.facts
        self._measure_lines(chunk)
        facts.has_quote = facts.has_quote or b'"' in chunk
        if facts.nul_row is None and (at := chunk.find(b"\0")) >= 0:
            facts.nul_row = self._row(chunk, at)
        if facts.lone_carriage_return_row is None:
            self._find_lone_carriage_return(chunk)
        if facts.not_utf8_row is None:
            self._decode(chunk)

    def _measure_lines(self, chunk: bytes) -> None:
        first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
        if first < 0:
            self._line_bytes += len(chunk)
            if self._line_bytes > LINE_BYTES_MAX:
                self.facts.too_long_row = self.facts.line_feeds + 1
            return
        if self._line_bytes + first > LINE_BYTES_MAX:
            self.facts.too_long_row = self.facts.line_feeds + 1
        self._line_bytes = len(chunk) - last - 1

    def _find_lone_carriage_return(self, chunk: bytes) -> None:
        if self._last == b"\r" and not chunk.startswith(b"\n"):
            self.facts.lone_carriage_return_row = self.facts.line_feeds + 1
        elif b"\r" in chunk and (lone := _LONE_CARRIAGE_RETURN.search(chunk)):
            self.facts.lone_carriage_return_row = self._row(chunk, lone.start())

    def _decode(self, chunk: bytes) -> None:
        if not self._unfinished and chunk.isascii():
            return
        # A character may straddle two chunks; what is left over is at most three bytes.
        data = self._unfinished + chunk
        try:
            _text, used = codecs.utf_8_decode(data, "strict", False)
        except UnicodeDecodeError as error:
            self.facts.not_utf8_row = self._row(data, error.start)
            self._unfinished = b""
        else:
            self._unfinished = data[used:]

    def _row(self, data: bytes, at: int) -> int:
        return self.facts.line_feeds + data.count(b"\n", 0, at) + 1
