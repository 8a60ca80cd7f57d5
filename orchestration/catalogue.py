"""Writes docs/reference/catalogue.md from every process's folder; `--check` only compares.

Whose problem each process solves, what it reads and writes, by when, and what to read when it
fails. The state of an installation's processes is `acme process list`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from acme.lakehouse import contracts
from acme.lakehouse.teams import DAY_TEAMS
from orchestration import generated
from orchestration.fields import ARCHETYPES
from orchestration.registry import ROOT, DeclarationError, declared, other_teams
from orchestration.specs import ProcessSpec, runbook_file

PAGE = ROOT / "docs" / "reference" / "catalogue.md"
MODULE = "orchestration.catalogue"
_PROBLEM = re.compile(r"^\*\*Problem\.?\*\*(?P<text>.+?)(?:\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_STARTS = {
    "on_publication": "when its date is published",
    "month_end": "on the last business date of a month",
    "month_start": "on the first business date of a month",
    "manual": "by hand",
}
_INTRODUCTION = """\
# Catalogue of processes

Every process of every team, from its folder; written by `python -m orchestration.catalogue`, so
change the folder, not the page. How an installation's processes fared last: `acme process list`.
"""


def render() -> str:
    """Return the whole page. Raises DeclarationError where a folder says too little."""
    teams = {team: declared(team) for team in (*DAY_TEAMS, *other_teams())}
    parts = [_INTRODUCTION, *_to_read_first(teams)]
    parts.append("## Teams of their own\n")
    for team in other_teams():
        parts += _team(team, teams[team], f"Location and schema `{team}`.")
    parts.append("## The business day\n")
    for team in DAY_TEAMS:
        parts += _team(team, teams[team], "Location `business_day`.")
    return "\n".join(parts).rstrip("\n") + "\n"


def _to_read_first(teams: dict[str, list[ProcessSpec]]) -> Iterator[str]:
    everything = [spec for specs in teams.values() for spec in specs]
    yield "## Read first\n"
    yield "One of each archetype: the one that shows most by example.\n"
    yield "| archetype | process |"
    yield "|---|---|"
    for archetype in ARCHETYPES:
        of_it = [spec for spec in everything if spec.archetype == archetype]
        best = min(of_it, key=_by_example, default=None)
        link = "none yet" if best is None else f"[{best.folder}](#{_anchor(best.folder)})"
        yield f"| `{archetype}` | {link} |"
    yield ""


def _by_example(spec: ProcessSpec) -> tuple[bool, int, str]:
    """Return the order in which processes are worth reading: others' first, by their scenarios."""
    return spec.stage is not None, -len(_scenarios(spec)), spec.folder


def _scenarios(spec: ProcessSpec) -> list[str]:
    return sorted(path.name for path in (spec.path() / "scenarios").glob("*.yaml"))


def _team(team: str, specs: Sequence[ProcessSpec], where: str) -> Iterator[str]:
    yield f"### Team {team}\n"
    yield f"{where}\n"
    for spec in specs:
        yield "\n".join(_process(spec)) + "\n"


def _process(spec: ProcessSpec) -> Iterator[str]:
    yield f"#### {spec.folder}\n"
    yield f"{problem(spec)}\n"
    owners = f"team `{spec.team}`" + (f", {spec.owner}" if spec.owner else "")
    yield f"- Owner: {owners}. Archetype: `{spec.archetype}`."
    if spec.stage is not None:
        yield f"- Runs in the day's `{spec.stage}`."
    else:
        by = f", its tables due by {spec.deadline}" if spec.deadline else ""
        yield f"- Runs {_STARTS[spec.automation]}{by}."
    yield f"- In: {_datasets(_inputs(spec))}."
    yield f"- Out: {_datasets(_outputs(spec))}."
    if checks := [f"`{check.name}`" for check in spec.checks]:
        yield f"- Checks: {', '.join(checks)}."
    if count := len(_scenarios(spec)):
        yield f"- Scenarios: {count}, in `assets/{spec.folder}/scenarios/`."
    runbook = runbook_file(spec)
    yield f"- When it fails: [{runbook}](../../{runbook})."


def problem(spec: ProcessSpec) -> str:
    """Return whose problem a process solves: of its README, or of the day what it does.

    Raises DeclarationError where a process of another team states none.
    """
    if spec.stage is not None:
        return spec.description
    path = spec.path() / "README.md"
    found = _PROBLEM.search(path.read_text("utf-8")) if path.is_file() else None
    if found is None:
        raise DeclarationError(
            f"assets/{spec.folder}/README.md: expected a paragraph that begins with **Problem.**,"
            f" got {'none in it' if path.is_file() else 'no such file'}"
        )
    return " ".join(_LINK.sub(r"\1", found["text"]).split())


def _inputs(spec: ProcessSpec) -> Iterator[str]:
    yield from (f"feed.{feed}" for feed in spec.feeds)
    yield from spec.reads
    yield from (d for d in spec.reads_previous if d not in spec.reads)


def _outputs(spec: ProcessSpec) -> Iterator[str]:
    yield from spec.writes
    if spec.lands:
        yield f"feed.{spec.lands}"
    if spec.recipient:
        yield f"file for {spec.recipient}"
    if spec.archetype == "Report":
        yield "files of them"


def _datasets(names: Iterable[str]) -> str:
    return ", ".join(_linked(name) for name in names) or "nothing"


def _linked(dataset: str) -> str:
    schema = dataset.split(".", maxsplit=1)[0]
    if " " in dataset or schema not in ("core", "stage", "feed", *contracts.team_schemas()):
        return dataset
    return f"[{dataset}](datasets.md#{_anchor(dataset)})"


def _anchor(heading: str) -> str:
    """Return the anchor that a heading of a page has."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or compare it; returns the exit code."""
    return generated.main(PAGE, render, MODULE, arguments)


if __name__ == "__main__":
    sys.exit(main())
