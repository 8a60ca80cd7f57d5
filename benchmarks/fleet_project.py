"""A copy of the project with a fleet of made-up processes in it: real folders, real contracts.

One team has the same processes whatever the size of the fleet, so that its location and its tests
can be compared; the others share the rest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("acme", "assets", "data_contracts", "dbt_project", "orchestration", "sensors", "simulator")
FILES = ("conftest.py", "dagster.yaml", "pyproject.toml", "workspace.yaml")
TEAMS = 12
# The team that is measured has these, in every fleet.
MEASURED, PROCESSES_OF_MEASURED = "team_01", 5
PROBE = "ACME_FLEET_PROBE"

_PROCESS = '''"""What each pot pays: a made-up charge."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from acme.domain.day import Day

# Says when the first line of a process ran, to whoever measures it.
PROBE = os.environ.get("ACME_FLEET_PROBE")


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return one row per open pot."""
    if PROBE:
        Path(PROBE).write_text(str(time.monotonic_ns()), "ascii")
    pots = inputs["core.pots"].filter(pl.col("status") != "closed")
    charge = pl.lit("NUMBER").cast(pl.Decimal(18, 2))
    return {"TEAM.NAME": pots.select("book", "pot_id", charge.alias("charge"))}
'''
_CHECKS = '''"""What the charges must keep."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.day import Day


def charges_are_positive(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the charges that are not."""
    del day
    return inputs["TEAM.NAME"].filter(pl.col("charge") <= 0)
'''
_README = """# NAME

**Problem.** Every open pot pays a charge, which is the same each day and made up.
"""


@dataclass(frozen=True)
class Project:
    """A copy of the project at `root`, with `size` made-up processes."""

    root: Path
    size: int

    @property
    def largest(self) -> str:
        """Return a team with most processes; the measured one where there is no other."""
        return f"team_{2 if self.size > PROCESSES_OF_MEASURED else 1:02}"

    def run(self, arguments: Sequence[str], environment: dict[str, str]) -> Ended:
        """Run `python arguments` in the copy; raises SystemExit with what it said if it fails."""
        command = [sys.executable, *arguments]
        started = time.monotonic_ns()
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        ended = time.monotonic_ns()
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{said}")
        return Ended(started, (ended - started) / 1e9, used.ru_utime + used.ru_stime, said)

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """Return the environment in which the copy's own packages are found first."""
        return os.environ | {"PYTHONPATH": str(self.root)} | more


@dataclass(frozen=True)
class Ended:
    """A command that succeeded: when it was started, seconds of wall and CPU, what it said.

    CPU is that of the command and the children it waited for.
    """

    started_ns: int
    wall: float
    cpu: float
    said: str


def make(root: Path, size: int) -> Project:
    """Copy the project and put a fleet of `size` processes into it."""
    skip = shutil.ignore_patterns("__pycache__")
    for part in PARTS:
        shutil.copytree(ROOT / part, root / part, ignore=skip)
    shutil.copytree(ROOT / "docs" / "reference", root / "docs" / "reference")
    shutil.copytree(ROOT / "docs" / "runbooks", root / "docs" / "runbooks")
    for name in FILES:
        shutil.copy(ROOT / name, root)
    project = Project(root, size)
    for team, number in _places(size):
        _process(root, team, number)
    project.run(["-m", "orchestration.workspace"], {})
    # What `dg check defs` is to load is a module's only definitions.
    (root / "fleet_location.py").write_text(
        f"from orchestration import locations\n\ndefs = locations.{MEASURED}\n", "utf-8"
    )
    configuration = root / "pyproject.toml"
    text = configuration.read_text("utf-8")
    target = 'code_location_target_module = "orchestration.definitions"'
    if target not in text:
        raise SystemExit(f"pyproject.toml: expected {target}")
    configuration.write_text(
        text.replace(target, 'code_location_target_module = "fleet_location"'), "utf-8"
    )
    return project


def _places(size: int) -> list[tuple[str, int]]:
    """Return (team, number) of every process: the measured team's first, the rest in turn."""
    first = min(size, PROCESSES_OF_MEASURED)
    mine = [(MEASURED, number) for number in range(1, first + 1)]
    others = [
        (f"team_{2 + (number - first - 1) % (TEAMS - 1):02}", number)
        for number in range(first + 1, size + 1)
    ]
    return mine + others


def _process(root: Path, team: str, number: int) -> None:
    name = f"charge_{number:03}"
    folder = root / "assets" / team / name
    (folder / "scenarios").mkdir(parents=True)
    charge = f"{number // 100}.{number % 100:02}"

    def text(path: Path, template: str) -> None:
        filled = template.replace("TEAM", team).replace("NAME", name).replace("NUMBER", charge)
        path.write_text(filled, "utf-8")

    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    text(folder / "process.py", _PROCESS)
    text(folder / "checks.py", _CHECKS)
    text(folder / "README.md", _README)
    dataset = f"{team}.{name}"
    _yaml(folder / "defs.yaml", _defs(dataset))
    _yaml(folder / "scenarios" / "an_open_pot_pays.yaml", _scenario(dataset, charge))
    contracts = root / "data_contracts" / team
    contracts.mkdir(exist_ok=True)
    _yaml(contracts / f"{name}.odcs.yaml", _contract(team, name))


def _yaml(path: Path, document: dict[str, object]) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")


def _defs(dataset: str) -> dict[str, object]:
    return {
        "type": "orchestration.components.Calculation",
        "attributes": {
            "description": "What each open pot pays.",
            "reads": ["core.pots"],
            "writes": [dataset],
            "deadline": "16:00",
            "owner": "fleet@acme.example",
            "checks": [
                {
                    "name": "charges_are_positive",
                    "on_dataset": dataset,
                    "description": "Every charge is above zero.",
                    "reads": [dataset],
                }
            ],
        },
    }


def _scenario(dataset: str, charge: str) -> dict[str, object]:
    pot = {
        "book": "live",
        "pot_id": "A",
        "member_ref": "M",
        "risk_profile_id": "R",
        "opened_on": date(2024, 1, 2),
    }
    return {
        "scenario": "An open pot pays, a closed one does not.",
        "date": date(2024, 3, 4),
        "given": {
            "core.pots": [{**pot, "status": "open"}, {**pot, "pot_id": "B", "status": "closed"}]
        },
        "expect": {dataset: [{"book": "live", "pot_id": "A", "charge": charge}]},
    }


def _contract(team: str, name: str) -> dict[str, object]:
    def column(name: str, kind: str, of_key: int | None = None) -> dict[str, object]:
        logical = {"DATE": "date", "VARCHAR": "string"}.get(kind, "number")
        key = {"primaryKey": True, "primaryKeyPosition": of_key} if of_key else {}
        return {
            "name": name,
            "logicalType": logical,
            "physicalType": kind,
            "required": True,
            **key,
            "description": f"Made up {name}.",
        }

    charge = column("charge", "DECIMAL(18,2)") | {
        "customProperties": [{"property": "unit", "value": "currency"}]
    }
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"{team}.{name}",
        "name": name,
        "version": "1.0.0",
        "status": "active",
        "description": {"purpose": "Made up.", "usage": "None.", "limitations": "None."},
        "team": {"name": team},
        "slaProperties": [{"property": "retention", "value": 7, "unit": "y"}],
        "schema": [
            {
                "name": name,
                "dataGranularityDescription": "One row per pot.",
                "properties": [
                    column("run_date", "DATE", 1),
                    column("book", "VARCHAR", 2),
                    column("pot_id", "VARCHAR", 3),
                    charge,
                ],
            }
        ],
    }
