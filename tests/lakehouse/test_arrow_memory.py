"""What Arrow reads is its own: its threads never hold an object of Python."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from acme.lakehouse import contracts, landing
from acme.lakehouse.arrow_memory import arrow_owned
from acme.lakehouse.home import Home
from acme.lakehouse.raw_files import stored_path

CONTENT = b"calendar_id,holiday,name\nDEALING,2024-03-29,Good Friday\n"


def test_it_is_a_copy() -> None:
    content = bytearray(CONTENT)
    owned = arrow_owned(content)
    # Python refuses this while anybody holds the memory.
    content.clear()
    assert owned.to_pybytes() == CONTENT


def test_a_landed_file_is_read_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[pa.Buffer] = []

    def noted(content: bytes) -> pa.Buffer:
        made.append(arrow_owned(content))
        return made[-1]

    monkeypatch.setattr(landing, "arrow_owned", noted)
    home = Home(tmp_path)
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = stored_path(home.landed, digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert landing.read_landed(home, contracts.feed("holidays"), digest).height == 1
    assert [buffer.to_pybytes() for buffer in made] == [CONTENT]
