"""What a process may declare, beyond the types of its fields; a wrong one stops its location.

Told when the location loads: what other teams read and write, and that all they name is there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from acme.lakehouse import contracts
from acme.lakehouse.contracts import ContractError
from acme.lakehouse.teams import DAY_SCHEMAS, DAY_TEAMS, may_own_a_schema
from orchestration.computing import KEEPS_ITS_CONTRACT
from orchestration.registry import ROOT, DeclarationError
from orchestration.specs import ProcessSpec

_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
# Whom mail can be sent to: that much of an address can be told without sending any.
_MAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_OUTBOX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def require(spec: ProcessSpec) -> None:
    """Raise DeclarationError naming the file, the field, what was expected and what was got."""
    found = _of_the_day(spec) if spec.team in DAY_TEAMS else _of_another_team(spec)
    wrong = [*found, *_of_its_archetype(spec), *_when_it_fails(spec), *_versions(spec)]
    if wrong:
        raise DeclarationError("; ".join(f"assets/{spec.folder}/defs.yaml: {w}" for w in wrong))


def require_together(team: str, specs: Sequence[ProcessSpec]) -> None:
    """Raise DeclarationError where two processes of a team write one dataset."""
    if twice := written_twice(team, specs):
        raise DeclarationError("; ".join(twice.values()))


def written_twice(team: str, specs: Sequence[ProcessSpec]) -> dict[str, str]:
    """Return what is told of each dataset that more than one process of a team writes."""
    writers = Counter(dataset for spec in specs for dataset in {*spec.writes})
    return {
        dataset: f"assets/{team}: writes: expected one process that writes {dataset}, got "
        + ", ".join(s.folder for s in specs if dataset in s.writes)
        for dataset, count in sorted(writers.items())
        if count > 1
    }


def _of_the_day(spec: ProcessSpec) -> Iterator[str]:
    if spec.stage is None:
        yield "stage: expected one of the business day, got none"
    schemas = {d.split(".")[0] for d in (*spec.writes, *spec.reads, *spec.reads_previous)}
    for schema in sorted(schemas - set(DAY_SCHEMAS)):
        yield f"expected datasets of core and stage, got some of {schema}"


def _of_another_team(spec: ProcessSpec) -> Iterator[str]:
    if not may_own_a_schema(spec.team):
        yield f"team: expected a name that may be a schema (a_b1), got {spec.team!r}"
        return
    if spec.stage is not None:
        yield f"stage: expected none, for the business day is {', '.join(DAY_TEAMS)} alone"
    if spec.accepted or spec.looks_back:
        yield "accepted, looks_back: expected none outside the business day"
    if spec.deadline is not None and not _TIME.fullmatch(spec.deadline):
        yield f"deadline: expected a time as 16:00, got {spec.deadline!r}"
    yield from _datasets(spec)
    yield from _checks(spec)


def _datasets(spec: ProcessSpec) -> Iterator[str]:
    if not spec.writes:
        yield "writes: expected at least one dataset, got none"
    yield from (f"writes: expected {d} once" for d, n in Counter(spec.writes).items() if n > 1)
    for dataset in spec.writes:
        if dataset.split(".", maxsplit=1)[0] != spec.team:
            yield f"writes: expected datasets of schema {spec.team}, got {dataset}"
        else:
            yield from _owned("writes", dataset, spec.team)
    for field, datasets in (("reads", spec.reads), ("reads_previous", spec.reads_previous)):
        for dataset in datasets:
            if dataset.startswith("stage."):
                yield f"{field}: expected core or a team's schema, got {dataset}, which is internal"
            elif field == "reads" and dataset in spec.writes:
                yield f"reads: expected what others write, got its own {dataset}"
            else:
                yield from _there(field, dataset)
    for feed in spec.feeds:
        yield from _owned("feeds", f"feed.{feed}", spec.team)


def _checks(spec: ProcessSpec) -> Iterator[str]:
    names = Counter((check.name, check.on) for check in spec.checks)
    yield from (f"checks: expected one {n} on {on}" for (n, on), c in names.items() if c > 1)
    known = {*spec.reads, *spec.writes}
    for check in spec.checks:
        if check.name == KEEPS_ITS_CONTRACT:
            yield f"checks: expected another name than the derived {KEEPS_ITS_CONTRACT}"
        if check.on not in spec.writes:
            yield f"checks: {check.name}: expected on_dataset among writes, got {check.on}"
        if odd := sorted({*check.reads} - known | {*check.reads_previous} - {*spec.reads_previous}):
            yield f"checks: {check.name}: expected what the process reads or writes, got {odd}"
        if check.engine != "polars":
            yield f"checks: {check.name}: expected engine polars, got {check.engine}"


def _of_its_archetype(spec: ProcessSpec) -> Iterator[str]:
    match spec.archetype:
        case "LandedFeed" if not spec.feeds:
            yield "feeds: expected at least one, got none"
        case "Reconciliation" if bool(spec.keys) != bool(spec.compares):
            yield "keys, compares: expected both, or neither where process.py has its own run"
        case "Reconciliation" if spec.keys and len(spec.writes) != 1:
            yield f"writes: expected one dataset for the outcome, got {len(spec.writes)}"
        case "Reconciliation" if spec.keys:
            yield from _outcome(spec)
        case "Instruction" if (spec.lands is None) == (spec.recipient is None):
            yield "lands, recipient: expected one of them"
        case "Instruction" if spec.lands is not None and spec.lands not in contracts.feed_names():
            yield f"lands: expected a feed, got {spec.lands!r}"
        case "Instruction" if spec.recipient and not _OUTBOX.fullmatch(spec.recipient):
            yield f"recipient: expected a folder name of letters and digits, got {spec.recipient!r}"


def _outcome(spec: ProcessSpec) -> Iterator[str]:
    """Yield columns that the outcome of a comparison has and its table has not."""
    (dataset,) = spec.writes
    try:
        columns = contracts.of(dataset).column_names
    except ContractError:
        return  # What is written is judged by itself, and told there.
    sides = [(c, f"{side}_{c}") for c in spec.compares for side in ("left", "right")]
    wanted = [*(("keys", k, k) for k in spec.keys), *(("compares", c, s) for c, s in sides)]
    for field, stated, column in wanted:
        if column not in columns:
            names = ", ".join(columns)
            of = "" if stated == column else f", whose column is {column}"
            yield f"{field}: expected columns of {dataset} ({names}), got {stated}{of}"


def _when_it_fails(spec: ProcessSpec) -> Iterator[str]:
    if spec.owner is not None and not _MAIL.fullmatch(str(spec.owner)):
        yield f"owner: expected a mail address, got {spec.owner!r}; the team is an owner anyway"
    if spec.runbook is not None and not (ROOT / spec.runbook).is_file():
        yield f"runbook: expected a file of the repository, got {spec.runbook!r}"


def _versions(spec: ProcessSpec) -> Iterator[str]:
    known = {*depends_on(spec)}
    for dataset, version in spec.versions.items():
        if dataset not in known:
            yield f"versions: expected what the process reads or lands, got {dataset}"
        if not isinstance(version, int) or version < 1:
            yield f"versions: {dataset}: expected a major version from 1 on, got {version!r}"


def depends_on(spec: ProcessSpec) -> list[str]:
    """Return the datasets of others whose contracts a process was written for, by name."""
    lands = [f"feed.{spec.lands}"] if spec.lands else []
    return sorted({*spec.reads, *spec.reads_previous, *lands} - {*spec.writes})


def _owned(field: str, dataset: str, team: str) -> Iterator[str]:
    missing = list(_there(field, dataset))
    yield from missing
    if not missing and (owner := contracts.of(dataset).owner) != team:
        yield f"{field}: expected a contract of team {team}, got {dataset} of team {owner}"


def _there(field: str, dataset: str) -> Iterator[str]:
    try:
        contracts.of(dataset)
    except ContractError as error:
        yield f"{field}: expected a dataset with a contract, got {dataset}: {error}"
