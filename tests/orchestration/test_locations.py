"""One team's mistake is its own: broken folders beside good ones, through the command.

A copy of the product with made-up teams, on an installation with two published dates.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from orchestration import workspace
from tests.orchestration.folders import Folders
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D0, D1, D2, Scenario

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
        environment = os.environ | {
            "ACME_HOME": str(self.home),
            "ACME_POSTGRES_URL": self.url,
            "ACME_CLOCK": "event",
            "PYTHONPATH": str(self.root),
            **settings,
        }
        return subprocess.run(
            [sys.executable, "-m", "acme.cli.main", *arguments],
            cwd=self.root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def team(self, team: str, code: str = COUNT) -> None:
        self.folders.contract(f"{team}.pots", {"pot_id": "VARCHAR"}, {})
        self.folders.process(
            f"{team}/pots", "Calculation", code.replace("TEAM", team),
            reads=["core.pots"], writes=[f"{team}.pots"],
        )  # fmt: skip

    def follower(self, team: str, reads: str) -> None:
        self.folders.contract(f"{team}.after", {"pot_id": "VARCHAR"}, {})
        code = FOLLOW.replace("TEAM", team).replace("READ", reads)
        self.folders.process(
            f"{team}/after", "Calculation", code, reads=[reads], writes=[f"{team}.after"]
        )


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


def test_a_broken_team_stops_itself_and_who_reads_it(copy: Copy) -> None:
    copy.team("good")
    copy.follower("reader", "good.pots")
    copy.team("unreadable")
    (copy.root / "assets/unreadable/pots/defs.yaml").write_text("type: [", "utf-8")
    copy.team("unknown_field")
    path = copy.root / "assets/unknown_field/pots/defs.yaml"
    path.write_text(path.read_text("utf-8") + "  wrong: 1\n", "utf-8")
    copy.team("no_import", "import nothing_of_that_name\n")
    copy.team("for_ever", "while True:\n    pass\n")
    copy.team("leaves", "import os\nos._exit(7)\n")
    copy.team("raises", "def run(day, inputs):\n    return {'raises.pots': 1 / 0}\n")
    copy.follower("orphan", "raises.pots")

    told = copy.acme("process", "run-due", "--date", str(D1), "--json", ACME_LOCATION_SECONDS="40")
    assert told.returncode == 1, told.stderr
    report = json.loads(told.stdout)
    assert report["done"] == ["good/pots", "reader/after"]
    failed = report["failed"]
    assert "expected YAML" in failed["unreadable"]
    assert "wrong" in failed["unknown_field"]
    assert "nothing_of_that_name" in failed["no_import"]
    assert failed["for_ever"] == "location for_ever: did not load within 40 s"
    assert "its process ended when it was to load" in failed["leaves"]
    assert "division by zero" in failed["raises/pots"]
    assert failed["orphan/after"] == "not run, for raises/pots failed"
    assert failed["for_ever/pots"] == "not run, for its location failed"
    assert set(failed) == {
        "unreadable", "unknown_field", "unknown_field/pots", "no_import", "no_import/pots",
        "for_ever", "for_ever/pots", "leaves", "leaves/pots", "raises/pots", "orphan/after",
    }  # fmt: skip

    # One of them by name; the table of another team through the same commands as the day's.
    again = copy.acme("process", "run", "good/pots", "--date", str(D1))
    assert (again.returncode, again.stdout) == (0, f"{D1} good/pots: done\n")
    rows = copy.acme("export", "good.pots", "--date", str(D1)).stdout
    assert rows == f"run_date,pot_id\n{D1},A\n"
    assert len(copy.acme("hash", "good.pots", str(D1)).stdout.strip()) == 64
    query = copy.acme("sql", "select pot_id from good.pots join pots using (pot_id)", "--json")
    assert json.loads(query.stdout)[0] == {"pot_id": "A"}
    listed = copy.acme("process", "list", "--json")
    assert listed.returncode == 1
    assert set(json.loads(listed.stdout)["broken"]) == {"unreadable"}
    late = copy.acme("process", "run-due", "--date", "2024-03-06")
    assert (late.returncode, late.stdout) == (1, "")
    assert "2024-03-06 is not published" in late.stderr
    for answer in (again, listed, late, told):
        assert "Traceback" not in answer.stderr

    # And the day goes on.
    day = copy.acme("day", str(D2))
    assert (day.returncode, day.stdout) == (0, f"{D2}: published\n"), day.stderr


def test_the_workspace_is_that_of_the_folders(tmp_path: Path) -> None:
    assert workspace.wrong() == []
    document = yaml.safe_load((ROOT / "workspace.yaml").read_text("utf-8"))
    names = [entry["python_module"]["location_name"] for entry in document["load_from"]]
    assert names[0] == "business_day"
    assert "member_services" in names
    assert workspace.wrong(tmp_path) == [
        "workspace.yaml: differs; run python -m orchestration.workspace"
    ]
