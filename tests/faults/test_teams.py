"""One team's mistake is its own: broken folders beside good ones, through the command.

A copy of the product with made-up teams, all of them at once, on an installation with two
published dates. docs/teams.md has the table.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import psutil
import pytest
import yaml

from acme.lakehouse.home import Home
from acme.lakehouse.platform import open_platform
from orchestration import runner
from orchestration.registry import other_teams
from tests.orchestration.folders import Folders
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D0, D1, D2, D3, Scenario

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("acme", "assets", "data_contracts", "dbt_project", "orchestration", "sensors", "simulator")
COUNT = """
import polars as pl
def run(day, inputs):
    return {"TEAM.pots": inputs["core.pots"].select("pot_id")}
"""
FOLLOW = """
def run(day, inputs):
    return {"TEAM.after": inputs["READ"].drop("run_date")}
"""


@dataclass(frozen=True)
class Copy:
    """A copy of the product and an installation."""

    root: Path
    home: Path
    folders: Folders
    url: str

    def acme(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return self.python("acme.cli.main", *arguments, **settings)

    def python(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.root, env=self.environment(**settings),
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def team(self, team: str, code: str = COUNT, **more: Any) -> None:
        self.folders.contract(f"{team}.pots", {"pot_id": "VARCHAR"}, {})
        self.folders.process(
            f"{team}/pots", "Calculation", code.replace("TEAM", team),
            **({"reads": ["core.pots"], "writes": [f"{team}.pots"]} | more),
        )  # fmt: skip

    @contextmanager
    def served(self, workspace: Path) -> Iterator[Callable[[str], dict[str, Any]]]:
        """Serve a workspace as `acme up` does; yields what asks it by GraphQL."""
        with patch.dict(os.environ, ACME_POSTGRES_URL=self.url, ACME_CLOCK="event"):
            variables = runner.dagster_environment(open_platform(Home(self.home)))
        settings = self.home / "dagster" / "dagster.yaml"
        text = settings.read_text("utf-8")
        # None of these waits: what a busy machine takes to load the good ones must not matter.
        settings.write_text(text.replace("startup_timeout: 120", "startup_timeout: 900"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [Path(sys.executable).parent / "dagster-webserver", "-w", workspace]
        server = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port)],
            cwd=self.root, env=self.environment(**variables),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

        def ask(query: str) -> dict[str, Any]:
            while server.poll() is None:
                with suppress(httpx.TransportError):
                    url = f"http://127.0.0.1:{port}/graphql"
                    answer = httpx.post(url, json={"query": query}, timeout=120)
                    return dict(answer.json()["data"])
                time.sleep(0.5)
            raise AssertionError(f"the server ended with {server.returncode}")

        family = []
        try:
            yield ask
            family = psutil.Process(server.pid).children(recursive=True)
        finally:
            server.terminate()
            server.wait(60)
            for left in family:
                with suppress(psutil.NoSuchProcess):
                    left.kill()

    def environment(self, **settings: str) -> dict[str, str]:
        return os.environ | {
            "ACME_HOME": str(self.home),
            "ACME_POSTGRES_URL": self.url,
            "ACME_CLOCK": "event",
            "PYTHONPATH": str(self.root),
            **settings,
        }

    def defs(self, team: str) -> Path:
        return self.root / "assets" / team / "pots" / "defs.yaml"

    def follower(self, team: str, reads: str) -> None:
        self.folders.contract(f"{team}.after", {"pot_id": "VARCHAR"}, {})
        code = FOLLOW.replace("TEAM", team).replace("READ", reads)
        self.folders.process(
            f"{team}/after", "Calculation", code, reads=[reads], writes=[f"{team}.after"]
        )


def without_other_teams(root: Path, keep: str) -> None:
    """Leave the business day and one other team in a copy: what is told is of made-up ones."""
    gone = {team for team in other_teams() if team != keep}
    for team in gone:
        shutil.rmtree(root / "assets" / team)
        shutil.rmtree(root / "data_contracts" / team)
    for path in (root / "data_contracts" / "feeds").iterdir():
        if yaml.safe_load(path.read_text("utf-8"))["team"]["name"] in gone:
            path.unlink()


@pytest.fixture(scope="module")
def copy(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Copy]:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in VARIABLES:
            patch.setenv(name, "")
        url = stack.enter_context(copy_of(postgres_url, template_database))
        root = tmp_path_factory.mktemp("product")
        skip = shutil.ignore_patterns("__pycache__")
        for part in PARTS:
            shutil.copytree(ROOT / part, root / part, ignore=skip)
        without_other_teams(root, keep="member_services")
        shutil.copytree(ROOT / "docs" / "reference", root / "docs" / "reference")
        shutil.copytree(ROOT / "docs" / "runbooks", root / "docs" / "runbooks")
        shutil.copy(ROOT / "dagster.yaml", root)
        opened = Scenario(root / "home", url, catalog=True, engine=False)
        opened.reference({"A": "SELF"}, {"A": {"EQ": "10", "USD": "5.00"}})
        for day, before in ((D1, D0), (D2, D1)):
            opened.land("closing_prices", f"{before},EQ,USD,10", f"{before},BD,USD,20")
            opened.run(day)
        opened.close()
        yield Copy(root, root / "home", Folders(root / "assets", root / "data_contracts"), url)


LIMIT = "40"
# What is told of a team's location, or of its process `pots` where the location can be loaded.
LOCATIONS = {
    "unreadable": "assets/unreadable/pots/defs.yaml: expected YAML",
    "unknown_field": "assets/unknown_field/pots/defs.yaml: wrong: expected a field of description",
    "no_import": "cannot import name 'nothing_of_that_name'",
    "for_ever": f"location for_ever: did not load within {LIMIT} s",
    "leaves": "location leaves: its process ended when it was to load",
    "no_owner": "assets/no_owner/pots/defs.yaml: owner: expected a mail address, got 'nobody'",
}
PROCESSES = {
    "raises/pots": "division by zero",
    "check_raises/pots": "a check went wrong",
    "check_fails/pots": "nothing was written, for blocking checks failed: judged on",
    "orphan/after": "not run, for raises/pots failed",
    "east/pots": "wait for each other: east/pots, west/after",
    "west/after": "wait for each other: east/pots, west/after",
}
UNREADABLE = {"unreadable", "unknown_field"}
WELL = ["good/pots", "reader/after"]
JUDGED = {"name": "judged", "description": "Made up."}


@pytest.fixture(scope="module")
def broken(copy: Copy) -> Copy:
    """Return the copy with every broken team in it, and two that are well."""
    copy.team("good")
    copy.follower("reader", "good.pots")
    copy.team("unreadable")
    copy.defs("unreadable").write_text("type: [", "utf-8")
    copy.team("unknown_field", wrong=1)
    copy.team("no_import", f"from acme.domain import nothing_of_that_name\n{COUNT}")
    copy.team("for_ever", f"while True:\n    pass\n{COUNT}")
    copy.team("leaves")
    (copy.root / "assets/leaves/__init__.py").write_text("import os\nos._exit(7)\n", "utf-8")
    copy.team("no_owner", owner="nobody")
    copy.team("raises", "def run(day, inputs):\n    return {'raises.pots': 1 / 0}\n")
    copy.follower("orphan", "raises.pots")
    for team, does in (("check_raises", "raise KeyError('a check went wrong')"),
                       ("check_fails", "return inputs['check_fails.pots']")):  # fmt: skip
        check = JUDGED | {"on_dataset": f"{team}.pots", "reads": [f"{team}.pots"]}
        copy.team(team, checks=[check], checks_code=f"def judged(day, inputs):\n    {does}\n")
    copy.team("east", reads=["west.after"])
    copy.follower("west", "east.pots")
    return copy


@pytest.fixture(scope="module")
def failed(broken: Copy) -> dict[str, str]:
    """Return what is told of each after a date was run; those that are well were done."""
    told = broken.acme(
        "process", "run-due", "--date", str(D1), "--json", ACME_LOCATION_SECONDS=LIMIT
    )
    assert told.returncode == 1, told.stderr
    assert "Traceback" not in told.stderr
    report = json.loads(told.stdout)
    assert report["done"] == WELL
    return dict(report["failed"])


@pytest.mark.parametrize(("name", "told"), [*LOCATIONS.items(), *PROCESSES.items()])
def test_each_mistake_is_told(failed: dict[str, str], name: str, told: str) -> None:
    assert told in failed[name]
    assert "\n" not in failed[name]


def test_nothing_else_is_told_to_have_failed(failed: dict[str, str]) -> None:
    # A folder that cannot be read names no process.
    of_locations = {f"{team}/pots" for team in LOCATIONS if team not in UNREADABLE}
    assert set(failed) == {*LOCATIONS, *PROCESSES, *of_locations}
    assert failed["for_ever/pots"] == "not run, for its location failed"


@pytest.mark.usefixtures("failed")
def test_only_what_is_well_has_written(broken: Copy) -> None:
    listed = broken.acme("process", "list", "--json")
    assert listed.returncode == 1
    found = json.loads(listed.stdout)
    assert set(found["broken"]) == UNREADABLE
    states = {row["process"]: row["state"] for row in found["processes"]}
    assert [name for name, state in states.items() if state == "finished"] == []
    # D2 is published too, and nothing was run for it.
    assert states["good/pots"] == "not run"
    for dataset, rows in (("good.pots", f"{D1},A\n"), ("reader.after", f"{D1},A\n")):
        exported = broken.acme("export", dataset, "--date", str(D1))
        assert exported.stdout == f"run_date,pot_id\n{rows}"
    for dataset in ("check_raises.pots", "check_fails.pots", "raises.pots", "east.pots"):
        exported = broken.acme("export", dataset, "--date", str(D1))
        assert exported.returncode == 1, exported.stdout
        assert f"{dataset} has no partition {D1}" in exported.stderr


@pytest.mark.usefixtures("failed")
def test_commands_of_those_that_are_well_work(broken: Copy) -> None:
    again = broken.acme("process", "run", "good/pots", "--date", str(D1))
    assert (again.returncode, again.stdout) == (0, f"{D1} good/pots: done\n"), again.stderr
    assert len(broken.acme("hash", "good.pots", str(D1)).stdout.strip()) == 64
    query = broken.acme("sql", "select pot_id from good.pots join pots using (pot_id)", "--json")
    assert json.loads(query.stdout)[0] == {"pot_id": "A"}
    real = broken.acme("process", "run", "member_services/valuation_statement", "--date", str(D1))
    assert real.returncode == 0, real.stderr
    late = broken.acme("process", "run-due", "--date", "2024-03-06")
    assert (late.returncode, late.stdout) == (1, "")
    assert "2024-03-06 is not published" in late.stderr


def test_before_it_lands_it_is_told_without_loading_anything(broken: Copy) -> None:
    told = broken.python("orchestration.declared_check")
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    for team in ("unreadable", "unknown_field", "no_owner"):
        assert LOCATIONS[team] in told.stderr
    assert "got some in a circle: east/pots, west/after" in told.stderr


QUERY = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { __typename ... on PythonError { message causes { message } } } } } } }"""


def test_the_ui_serves_every_other_location(broken: Copy) -> None:
    shown = ["business_day", "good", "unreadable", "no_owner", "no_import"]
    modules = [
        {"module_name": "orchestration.definitions", "location_name": "business_day"},
        *({"module_name": "orchestration.locations", "attribute": team, "location_name": team}
          for team in shown[1:]),
    ]  # fmt: skip
    workspace = broken.root / "some.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"python_module": m} for m in modules]}))
    with broken.served(workspace) as ask:
        entries = ask(QUERY)["workspaceOrError"]["locationEntries"]
    found = {entry["name"]: entry["locationOrLoadError"] for entry in entries}
    assert list(found) == shown
    failed = {
        name: "\n".join(part["message"] for part in (error, *error["causes"]))
        for name, error in found.items()
        if error["__typename"] == "PythonError"
    }
    assert set(failed) == {"unreadable", "no_owner", "no_import"}, failed
    for team, told in failed.items():
        assert LOCATIONS[team] in told


def test_the_day_goes_on(broken: Copy) -> None:
    day = broken.acme("day", str(D3))
    assert (day.returncode, day.stdout) == (0, f"{D3}: published\n"), day.stderr
