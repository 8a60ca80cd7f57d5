"""No write, rename or commit of a day is without a fail-point; the page on faults has them all."""

import errno
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from acme.lakehouse import failpoints
from acme.lakehouse.failpoints import POINTS, reach
from tests.faults.crash import FAULTS
from tests.faults.write_sites import ROOT, sources, uncovered

SERVER = "makes or starts the embedded server, before any run"
GENERATED = "writes documentation in the source tree"
MEMORY = "a DuckDB in memory"
MARTS = "after publication: a copy until replace_atomic, which has points"
ELSEWHERE = {
    "acme.evidence.explain.Books.orders": MEMORY,
    "acme.evidence.pack.write": "a pack of a published date, for whoever asks; no run writes one",
    "acme.evidence.times._prepare": MEMORY,
    "acme.lakehouse.contract_docs.main": GENERATED,
    "acme.lakehouse.control.Control.create_scheme": "acme init",
    "acme.lakehouse.control.Control.record_outcome": "no run records a part at once",
    "acme.lakehouse.control._add_reference_keys": "inside register_file's transaction",
    "acme.lakehouse.files.fsync_folder": "also of the server's folders; write_atomic has points",
    "acme.lakehouse.lake.Lake.create": "acme init",
    "acme.lakehouse.migrate.migrate": "acme init",
    "acme.lakehouse.postgres._copy_binaries": SERVER,
    "acme.lakehouse.postgres._drop_stale_pid_file": SERVER,
    "acme.lakehouse.postgres._init_data": SERVER,
    "acme.lakehouse.postgres._remove_socket_folder": SERVER,
    "acme.operations.breaks.Desk.export": "renames a column",
    "acme.operations.breaks.Desk.land": "a scratch file, which is then landed",
    "acme.operations.dbt.manifest": "a scratch copy for dbt; write_atomic has points",
    "acme.operations.dbt_sources.main": GENERATED,
    "acme.operations.marts.reference.main": GENERATED,
    "acme.operations.marts.serving._apply": MARTS,
    "acme.operations.marts.serving._copy": MARTS,
    "acme.operations.marts.serving.serve_duckdb": MARTS,
    "acme.operations.state_pictures.main": GENERATED,
}


def test_every_write_of_a_day_has_a_fail_point() -> None:
    found = uncovered(sources())
    new = {name: sites for name, sites in found.items() if name not in ELSEWHERE}
    assert not new, f"expected reach(...) around these writes, or in all callers: {new}"
    assert not ELSEWHERE.keys() - found.keys(), "listed, but has no write any more"


PLANTED = """
def covered(path):
    reach("x:before")
    path.replace(other)

def helper(cursor):
    cursor.execute(f"UPDATE {table} SET a = 1")

def caller(cursor):
    reach("y:before")
    helper(cursor)

def forgotten(path):
    path.rename(other)

class Store:
    def also_forgotten(self, text, connection):
        text.replace("a", "b")
        connection.execute("COMMIT")
        open(path, "wb")
"""


def test_a_write_without_a_fail_point_is_named() -> None:
    assert uncovered({"a/b.py": PLANTED}) == {
        "a.b.forgotten": ["line 14: path.rename"],
        "a.b.Store.also_forgotten": ["line 20: open", "line 19: connection.execute"],
    }
    bypassed = PLANTED + "\ndef other(cursor):\n    helper(cursor)\n"
    assert "a.b.helper" in uncovered({"a/b.py": bypassed})


def test_every_point_is_reached_somewhere_and_every_name_is_a_point() -> None:
    named = set(re.findall(r'\breach\("([^"]+)"\)', "\n".join(sources().values())))
    assert named == set(POINTS)


def test_the_page_names_every_point_and_what_is_done_there() -> None:
    page = (ROOT / "docs" / "reference" / "faults.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z.]+:[a-z]+)` \| (.+?) \| (.*?) \|$", page, re.MULTILINE)
    assert {name: text for name, text, _ in rows} == POINTS
    for name, _, done in rows:
        faults = {fault for fault, (_, points, _) in FAULTS.items() if name in points}
        assert set(done.split(", ")) == faults, name


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return a patch of the environment of a process that has reached no point yet."""
    monkeypatch.setattr(failpoints, "_reached", {})
    return monkeypatch


def test_a_point_fails_at_the_time_asked_for(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fresh.setenv("ACME_FAILPOINT", "lake.files:before#2")
    fresh.setenv("ACME_FAILPOINT_ERROR", "ENOSPC")
    fresh.setenv("ACME_FAILPOINT_LOG", str(log))
    reach("lake.files:before")
    reach("lake.files:after")
    with pytest.raises(OSError) as raised:
        reach("lake.files:before")
    assert raised.value.errno == errno.ENOSPC
    reach("lake.files:before")
    assert log.read_text().split() == [
        "lake.files:before",
        "lake.files:after",
        *["lake.files:before"] * 2,
    ]
    with pytest.raises(KeyError):
        reach("no.such:point")


def test_a_point_kills_the_process_itself() -> None:
    program = "from acme.lakehouse.failpoints import reach; reach('run.admit:before')"
    for name, expected in (("run.admit:before", -signal.SIGKILL), ("run.admit:after", 0)):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={"ACME_FAILPOINT": name}, check=False
        )
        assert done.returncode == expected
