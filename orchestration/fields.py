"""The fields of a `defs.yaml`, by archetype, and what is wrong in one, in words of the file.

The components of Dagster have these fields too and add what becomes of them. Here they need
neither Dagster nor a server, so that whoever reads a folder judges it as its location would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestration.specs import Automation

Stage = Literal["land", "post", "reconcile", "decide", "deal", "publish"]
# `orchestration.components.<archetype>` is the `type` of a `defs.yaml`.
COMPONENTS = "orchestration.components."


class Check(BaseModel):
    """A check: a function of the same name in the process's `checks.py`, or dbt's second engine."""

    model_config = ConfigDict(extra="forbid")

    name: str
    on_dataset: str
    description: str
    reads: list[str]
    reads_previous: list[str] = []
    blocking: bool = True
    engine: Literal["polars", "dbt"] = "polars"


class ProcessFields(BaseModel):
    """What every archetype has.

    `stage` is for the business day alone; `automation` and `deadline` for all other teams.
    `owner` is a person's mail address, beside the team, which follows from the folder. `runbook`
    is a file of the repository: default the process's README, or the runbook of the day.
    `versions`: dataset → major version of its contract that this was written for, if not 1.
    """

    model_config = ConfigDict(extra="forbid")

    description: Annotated[str, Field(min_length=1)]
    stage: Stage | None = None
    owner: str | None = None
    reads: list[str] = []
    reads_previous: list[str] = []
    feeds: list[str] = []
    writes: list[str]
    checks: list[Check] = []
    deadline: str | None = None
    automation: Automation | None = None
    pool: str | None = None
    runbook: str | None = None
    versions: dict[str, int] = {}


class FeedFields(ProcessFields):
    """`accepted` names feeds whose taken keys are remembered and never change; the day's."""

    accepted: list[str] = []


class ReconciliationFields(ProcessFields):
    """The columns by which two sides are matched, and those held against each other."""

    keys: list[str] = []
    compares: list[str] = []


class InstructionFields(ProcessFields):
    """Where what leaves goes: a feed of the next run of the day, or a folder of the outbox."""

    lands: str | None = None
    recipient: str | None = None


class LookBackFields(ProcessFields):
    """The tables of earlier runs of which a process picks rows."""

    looks_back: list[str]


# What a team chooses from, as docs/reference/processes.md has them.
ARCHETYPES: Mapping[str, type[ProcessFields]] = {
    "LandedFeed": FeedFields,
    "Calculation": ProcessFields,
    "DbtModels": ProcessFields,
    "Reconciliation": ReconciliationFields,
    "Instruction": InstructionFields,
    "Report": ProcessFields,
}
# What only the platform itself does, in the business day.
OF_THE_DAY: Mapping[str, type[ProcessFields]] = {
    "LandFiles": FeedFields,
    "LookBack": LookBackFields,
    "SealBatches": ProcessFields,
    "PublishDate": InstructionFields,
}


class FieldsError(ValueError):
    """Fields that an archetype cannot have; `lines` says of each what was expected and got."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Keep one line for each thing that is wrong."""
        self.lines = tuple(lines)
        super().__init__("; ".join(lines))


def read(document: object, *, of_the_day: bool) -> tuple[str, dict[str, Any]]:
    """Return archetype and attributes of a `defs.yaml`, defaults filled in. Raises FieldsError."""
    if not isinstance(document, dict):
        raise FieldsError([f"expected type and attributes, got {_shown(document)}"])
    wrong = [f"{key}: expected type and attributes alone" for key in document if key not in _PARTS]
    known = {**ARCHETYPES, **OF_THE_DAY} if of_the_day else ARCHETYPES
    kind, given = document.get("type"), document.get("attributes")
    archetype = str(kind).removeprefix(COMPONENTS)
    if archetype not in known or kind != f"{COMPONENTS}{archetype}":
        names = _any_of([f"{COMPONENTS}{next(iter(known))}", *list(known)[1:]])
        wrong.append(f"type: expected {names}, got {_shown(kind)}")
        raise FieldsError(wrong)
    if not isinstance(given, dict):
        wrong.append(f"attributes: expected fields and their values, got {_shown(given)}")
        raise FieldsError(wrong)
    try:
        fields = known[archetype].model_validate(given)
    except ValidationError as error:
        model = known[archetype]
        wrong += [_line(model, given, found) for found in error.errors(include_url=False)]
        raise FieldsError(wrong) from error
    if fields.stage is not None and fields.automation is not None:
        wrong.append(
            "automation: expected none beside a stage, for the business day is run by its jobs"
        )
    if wrong:
        raise FieldsError(wrong)
    return archetype, fields.model_dump()


_PARTS = ("type", "attributes")
# What pydantic calls the types of fields, as people do.
_EXPECTED = {
    "string_type": "text",
    "string_too_short": "text",
    "list_type": "a list, as [a, b]",
    "dict_type": "names and their values",
    "model_type": "fields and their values",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
}


def _line(model: type[BaseModel], given: Mapping[Any, Any], error: Mapping[str, Any]) -> str:
    """Return one finding of pydantic's in words of the file."""
    *above, last = error["loc"]
    kind, got = error["type"], error["input"]
    unknown = kind in ("extra_forbidden", "invalid_key")
    at = ": ".join([*_place(given, above), str(last) if unknown else _named(last)])
    match kind:
        case "missing":
            return f"{at}: expected a value, got none"
        case _ if unknown:
            inside = Check if above else model
            return f"{at}: expected a field of {', '.join(inside.model_fields)}, got {last}"
        case "literal_error":
            expected = _any_of([e.strip("'") for e in _choices(error["ctx"]["expected"])])
        case "string_type" if type(got) is int and last == "deadline":
            # YAML reads 10:00 as a number to the base of 60.
            return f'{at}: expected text as "{_clock(got)}", got {got}: quote it'
        case _:
            expected = _EXPECTED.get(kind) or "a value of another kind"
    return f"{at}: expected {expected}, got {_shown(got)}"


def _place(given: Mapping[Any, Any], above: Sequence[int | str]) -> Iterator[str]:
    """Return how messages name what lies above a field; a check by its name where it has one."""
    value: Any = given
    for part in above:
        value = value[part]
        name = value.get("name") if isinstance(value, dict) and isinstance(part, int) else None
        yield name if isinstance(name, str) else _named(part)


def _named(part: int | str) -> str:
    return f"entry {part + 1}" if isinstance(part, int) else part


def _choices(text: str) -> list[str]:
    return text.replace(" or ", ", ").split(", ")


def _any_of(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _clock(minutes: int) -> str:
    # Seconds, where YAML took hours, minutes and seconds together.
    short = minutes if minutes < _DAY else minutes // 60
    return f"{short // 60:02}:{short % 60:02}"


_DAY = 24 * 60


def _shown(value: object) -> str:
    """Return a value as a file has it, in short."""
    match value:
        case None:
            return "none"
        case dict():
            return "names and their values"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            return value if value.strip() else repr(value)
        case _:
            return str(value)
