"""Sending published files to the custodians, once published and never otherwise (`rules §6`)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from acme.lakehouse.control import CheckOutcome, Dispatch
from acme.lakehouse.failpoints import reach
from acme.lakehouse.files import make_folder, write_atomic
from acme.lakehouse.platform import Platform


def send_all(platform: Platform) -> int:
    """Write every unsent file of published dates to the outbox and return how many left.

    Sending again writes the same bytes.
    """
    waiting = platform.control.unsent_dispatches()
    for item in waiting:
        _send(platform, item)
        reach("dispatch.file:after")
        platform.control.mark_sent(item.run_date, item.custodian_id, item.file_name)
        reach("dispatch.mark:after")
    return len(waiting)


def _send(platform: Platform, item: Dispatch) -> None:
    folder = platform.home.outbox / item.custodian_id / item.run_date.isoformat()
    write_vouched(folder / item.file_name, item.content)


def write_vouched(path: Path, content: bytes) -> None:
    """Write a file that leaves; its `.sha256` is there before it."""
    make_folder(path.parent)
    digest = hashlib.sha256(content).hexdigest()
    write_atomic(path.with_name(f"{path.name}.sha256"), f"{digest}  {path.name}\n".encode())
    reach("dispatch.vouch:after")
    write_atomic(path, content)


def check_row(outcome: CheckOutcome) -> tuple[str, bool, bool, int, str]:
    """Return a check's outcome as a row of core.check_results."""
    detail = json.loads(outcome.detail)
    first = json.dumps(detail["first"], sort_keys=True)
    return (outcome.check_name, outcome.passed, detail["blocking"], detail["failures"], first)
