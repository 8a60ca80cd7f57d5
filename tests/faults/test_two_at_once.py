"""One date started by two processes while a third holds its lock: published once."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from acme.lakehouse.control import RunLock
from tests.scenarios.conftest import copy_of
from tests.scenarios.driver import D1, Scenario

ROOT = Path(__file__).resolve().parents[2]


def prepare(scenario: Scenario) -> None:
    scenario.reference({"A": "FULL", "B": "SELF"}, {"B": {"EQ": "60"}})
    scenario.order("c", D1, "A", "contribution", amount="1000.00")
    scenario.order("s", D1, "B", "sell", asset="EQ", units="20.0000")


def hold(url: str, taken: threading.Event) -> None:
    with RunLock(url, D1):
        taken.set()
        time.sleep(4)


def test_a_date_started_twice_is_published_once(
    whole: Scenario, tmp_path: Path, postgres_url: str, template_database: str
) -> None:
    prepare(whole)
    url = whole.platform.url
    taken = threading.Event()
    holder = threading.Thread(target=hold, args=(url, taken))
    holder.start()
    taken.wait()
    command = [sys.executable, "-m", "acme.cli.main", "day", str(D1)]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=240)[0].decode() for process in started]
    holder.join()
    assert [process.returncode for process in started] == [0, 0], told
    control = whole.platform.control
    assert control.published_dates() == [D1]
    assert control.run(D1).epoch == 3
    assert control.run(D1).state == "published"
    files = control.dispatches(D1)
    assert len(files) == len({(f.custodian_id, f.file_name) for f in files}) == 3
    assert all(f.sent_at for f in files)
    # The same date in this process, without Dagster, gives the same bytes.
    with copy_of(postgres_url, template_database) as copy:
        other = Scenario(tmp_path / "other", copy)
        other.keep_keys_of(whole.home.root)
        prepare(other)
        other.run(D1)
        batches = [s.frame("dealing_batches", D1).drop("known_at") for s in (other, whole)]
        assert batches[0].to_dicts() == batches[1].to_dicts()
        assert other.hashes(D1) == whole.hashes(D1)
        assert other.outbox() == whole.outbox()
        other.close()
