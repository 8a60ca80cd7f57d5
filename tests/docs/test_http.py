"""docs/reference/http.md is true: its tables are the code's, its walk runs as written."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from documents import Command, blocks, commands, section, table_rows

from acme.gateway import openapi
from acme.gateway.problems import TYPES
from tests.gateway.published.conftest import Keys, keys, world
from tests.scenarios.driver import Scenario

__all__ = ["keys", "world"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/http.md").read_text("utf-8")
START_SECONDS_MAX = 60
pytestmark = pytest.mark.xdist_group("published")


def test_every_endpoint_is_told_with_its_scope() -> None:
    told = {}
    for call, scope, _ in table_rows(section(PAGE, "Endpoints")):
        method, path = call.strip("`").split()
        told[path, method] = set(re.findall("`(.*?)`", scope))
    assert told == {place: set(found.scopes) for place, found in openapi.OPERATIONS.items()}


def test_every_problem_is_told_with_its_status() -> None:
    rows = table_rows(section(PAGE, "Errors"))
    told = {kind.strip("`").removeprefix("/problems/"): int(status) for kind, status, _ in rows}
    assert told == {kind: status for kind, (status, _) in TYPES.items()}


@pytest.fixture
def walker(world: Scenario, keys: Keys, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Serve the world on a free port; yield the environment of a shell."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "ACME_HOME": str(world.home.root),
        "ACME_CLOCK": "event",
        "ACME_POSTGRES_URL": world.platform.url,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "URL": f"http://127.0.0.1:{port}",
        "KEY": keys.owner,
        "AUDIT": keys.compliance,
    }
    command = [sys.executable, "-m", "tests.gateway.published.serve", str(port)]
    with (tmp_path / "served.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_for(environment["URL"], tmp_path / "served.log")
        yield environment
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url: str, log: Path) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < START_SECONDS_MAX:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"the gateway does not serve: {log.read_text()}")


def like(expected: str) -> re.Pattern[str]:
    """Return the pattern of an output in which `…` stands for anything on one line."""
    return re.compile("[^\n]*".join(re.escape(part) for part in expected.split("…")))


@pytest.mark.slow
def test_the_walk_gives_what_it_shows(walker: dict[str, str], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for block in blocks(PAGE):
        if block.kind == "python":
            (work / block.attributes["file"]).write_text(block.text, "utf-8")
            continue
        for command in commands(block):
            follow(command, walker, work)


def follow(command: Command, environment: dict[str, str], work: Path) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.text],
        cwd=work,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    printed = done.stdout.decode()
    assert done.returncode == 0, (command.line, command.text, printed, done.stderr.decode())
    shown = command.output.rstrip("\n")
    assert like(shown).fullmatch(printed.rstrip("\n")), f"line {command.line}:\n{printed}"
