"""Named places around every write, commit and dispatch at which a test can kill or stop a run.

Off unless ACME_FAILPOINT is `NAME` or `NAME#N` (the N-th time, default the first). Then the
process sends itself SIGKILL, or what ACME_FAILPOINT_SIGNAL names; with ACME_FAILPOINT_ERROR, the
name of an error number such as ENOSPC, that error is raised instead. ACME_FAILPOINT_LOG is a file
to which every name that is reached is added. Nothing of it is for production.
"""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Final

POINTS: Final[dict[str, str]] = {
    "file.write:before": "a file is about to be written under a temporary name",
    "file.rename:before": "its bytes are on disk, under the temporary name",
    "file.rename:after": "it has its name, the folder is not flushed",
    "landing.copy:before": "a landed file is about to be copied",
    "landing.store:before": "its copy is flushed, under a temporary name",
    "landing.store:after": "the copy is in the store, nobody knows of it",
    "landing.register:before": "the file is judged, not yet recorded",
    "landing.register:after": "the file is recorded, and still in the inbox",
    "landing.retire:after": "the file has given up its name in the inbox, its .sha256 is there",
    "landing.unvouch:after": "its .sha256 is gone, the file is there under its other name",
    "landing.remove:after": "the file has left the inbox",
    "run.admit:before": "the date's lock is taken, its epoch is not",
    "run.admit:after": "the run has its epoch",
    "intake.drain:before": "orders wait in the inbox, the date has no mark",
    "intake.drain:after": "the mark is set, nothing has left the inbox",
    "intake.export:after": "everything up to the mark is landed, the inputs are not fixed",
    "inputs.fix:before": "the run's inputs are not fixed",
    "inputs.fix:after": "they are fixed, nothing is computed",
    "accepted.record:before": "keys are accepted, not yet recorded",
    "accepted.record:after": "keys are recorded, tables are not written",
    "lake.files:before": "tables are computed, no file is written",
    "lake.files:after": "every file is written, the catalog knows none",
    "lake.catalog:before": "the catalog's transaction is open",
    "lake.catalog:after": "the catalog knows the files, the manifest does not",
    "lake.manifest:after": "the manifest knows them too",
    "engine.run:before": "the second engine has not started",
    "engine.run:after": "the second engine has finished",
    "check.record:before": "a check has judged, nothing is recorded",
    "check.record:after": "its outcome is recorded",
    "publish.commit:before": "everything is proven, nothing is published",
    "publish.commit:after": "the date is published, no file has left",
    "dispatch.vouch:after": "a file's .sha256 has left, the file has not",
    "dispatch.file:after": "the file has left, and is not marked as sent",
    "dispatch.mark:after": "the file is marked as sent",
    "run.end:before": "all is done, the run does not say so yet",
}

_reached: dict[str, int] = {}


def reach(name: str) -> None:
    """Fail here, if that is what the environment asks for; `KeyError` for a name not in POINTS."""
    wanted, log = os.environ.get("ACME_FAILPOINT"), os.environ.get("ACME_FAILPOINT_LOG")
    if not wanted and not log:
        return
    POINTS[name]
    _reached[name] = _reached.get(name, 0) + 1
    if log:
        with Path(log).open("a", encoding="utf-8") as stream:
            stream.write(name + "\n")
    if wanted:
        point, _, count = wanted.partition("#")
        if name == point and _reached[name] == int(count or "1"):
            _fail()


def _fail() -> None:
    if error := os.environ.get("ACME_FAILPOINT_ERROR"):
        number = getattr(errno, error)
        raise OSError(number, os.strerror(number))
    os.kill(os.getpid(), signal.Signals[os.environ.get("ACME_FAILPOINT_SIGNAL", "SIGKILL")])
