"""What somebody asks of a new process, and what of it cannot be; writes nothing."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from acme.lakehouse import contracts
from acme.lakehouse.contracts import ContractError
from acme.lakehouse.teams import DAY_TEAMS, may_own_a_schema
from orchestration.fields import ARCHETYPES
from orchestration.specs import Automation

AUTOMATIONS = get_args(Automation)
NAME_LENGTH_MAX = 40
COLUMN_FORM = "NAME TYPE[?] [key] [in UNIT]: MEANING"

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_RECIPIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_COLUMN = re.compile(
    r"(?P<name>\S+)\s+(?P<type>[A-Z]+(?:\([0-9]+, ?[0-9]+\))?)(?P<empty>\?)?"
    r"(?P<key>\s+key)?(?:\s+in\s+(?P<unit>[^:]+?))?\s*:\s*(?P<meaning>\S.*)"
)
_DECIMAL = re.compile(r"DECIMAL\(([0-9]+), ?([0-9]+)\)")
PLAIN_TYPES = ("VARCHAR", "DATE", "TIMESTAMPTZ", "BOOLEAN", "INTEGER", "BIGINT")
_DIGITS_MAX = 38


class RequestError(ValueError):
    """A process that cannot be made as asked: one line for each flag that is wrong."""


@dataclass(frozen=True)
class AskedColumn:
    """A column of the output; `unit` is what a decimal counts, `decimals` None for other types."""

    name: str
    sql_type: str
    nullable: bool
    key: bool
    unit: str | None
    meaning: str

    @property
    def digits(self) -> tuple[int, int] | None:
        """Return precision and scale of a decimal; None for other types."""
        found = _DECIMAL.fullmatch(self.sql_type)
        return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True)
class Request:
    """A new process, as its flags or answers say it; `table` is in the schema of the team."""

    team: str
    name: str
    archetype: str
    problem: str
    owner: str
    table: str
    columns: tuple[AskedColumn, ...]
    reads: tuple[str, ...] = ()
    reads_previous: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    automation: str = "on_publication"
    deadline: str | None = None
    lands: str | None = None
    recipient: str | None = None

    @property
    def folder(self) -> str:
        """Return team/process."""
        return f"{self.team}/{self.name}"

    @property
    def dataset(self) -> str:
        """Return the table it writes, with its schema."""
        return f"{self.team}.{self.table}"

    @property
    def keys(self) -> list[AskedColumn]:
        """Return the key columns."""
        return [column for column in self.columns if column.key]

    @property
    def others(self) -> list[AskedColumn]:
        """Return the columns that are no key."""
        return [column for column in self.columns if not column.key]

    @property
    def new_feeds(self) -> list[str]:
        """Return the feeds that a `LandedFeed` brings with it: those without a contract."""
        if self.archetype != "LandedFeed":
            return []
        return [feed for feed in self.feeds if feed not in contracts.feed_names()]


def column(text: str) -> AskedColumn:
    """Return a column given as `fee DECIMAL(18,2) in currency: What the pot owes.`.

    Raises RequestError.
    """
    found = _COLUMN.fullmatch(text.strip())
    if found is None:
        raise RequestError(f"--column: expected {COLUMN_FORM}, got {text!r}")
    made = AskedColumn(
        name=found["name"],
        sql_type=found["type"].replace(" ", ""),
        nullable=found["empty"] is not None,
        key=found["key"] is not None,
        unit=found["unit"],
        meaning=found["meaning"].rstrip("."),
    )
    if wrong := list(_column_problems(made)):
        raise RequestError("\n".join(f"--column {made.name}: {line}" for line in wrong))
    return made


def require(asked: Request) -> None:
    """Raise RequestError with one line for each thing that cannot be."""
    wrong = [*_names(asked), *_terms(asked), *_inputs(asked), *_outputs(asked)]
    if wrong:
        raise RequestError("\n".join(wrong))


def _column_problems(made: AskedColumn) -> Iterator[str]:
    if not _is_name(made.name) or made.name == "run_date":
        yield f"expected another name of a_b1's form than run_date, got {made.name!r}"
    if made.digits is None and made.sql_type not in PLAIN_TYPES:
        types = ", ".join((*PLAIN_TYPES, "DECIMAL(p,s)"))
        yield f"expected a type of {types}, got {made.sql_type}"
    if made.digits and not (0 < made.digits[0] <= _DIGITS_MAX and made.digits[1] <= made.digits[0]):
        yield f"expected at most {_DIGITS_MAX} digits, decimals among them, got {made.sql_type}"
    if made.digits and made.unit is None:
        yield "expected what the number counts, as in `in currency`, got nothing"
    if made.key and made.nullable:
        yield "expected a key that is never empty, got one with ?"


def _is_name(name: str) -> bool:
    is_word = bool(_NAME.fullmatch(name)) and not keyword.iskeyword(name)
    return is_word and len(name) <= NAME_LENGTH_MAX


def _names(asked: Request) -> Iterator[str]:
    if asked.team in DAY_TEAMS:
        yield f"TEAM: expected one outside the business day, got {asked.team}, which is part of it"
    elif not _is_name(asked.team):
        yield f"TEAM: {_not_a_name(asked.team)}"
    elif not may_own_a_schema(asked.team):
        yield f"TEAM: expected a name that means nothing else, got {asked.team}, which is reserved"
    if not _is_name(asked.name):
        yield f"NAME: {_not_a_name(asked.name)}"
    # Where none is asked for, the table is called as the process.
    if asked.table != asked.name and not _is_name(asked.table):
        yield f"--table: {_not_a_name(asked.table)}"


def _not_a_name(name: str) -> str:
    if keyword.iskeyword(name):
        return f"expected a name that means nothing else, got {name}, a reserved word of Python"
    return f"expected a name as a_b1, of at most {NAME_LENGTH_MAX} characters, got {name!r}"


def _terms(asked: Request) -> Iterator[str]:
    if asked.archetype not in ARCHETYPES:
        yield f"--archetype: expected one of {', '.join(ARCHETYPES)}, got {asked.archetype!r}"
    if not asked.problem.strip():
        yield "--problem: expected who needs what, by when, and why; got nothing"
    if not _MAIL.fullmatch(asked.owner):
        yield f"--owner: expected a person's mail address, got {asked.owner!r}"
    if asked.automation not in AUTOMATIONS:
        yield f"--automation: expected one of {', '.join(AUTOMATIONS)}, got {asked.automation!r}"
    if asked.deadline is not None and not _TIME.fullmatch(asked.deadline):
        yield f"--deadline: expected a time as 16:00, got {asked.deadline!r}"


def _inputs(asked: Request) -> Iterator[str]:
    for flag, datasets in (("--reads", asked.reads), ("--reads-previous", asked.reads_previous)):
        yield from (f"{flag}: expected {d} once" for d, n in Counter(datasets).items() if n > 1)
        for dataset in datasets:
            yield from (f"{flag}: {line}" for line in _unknown(dataset, asked, flag))
    if asked.archetype == "LandedFeed" and not asked.feeds:
        yield "--feed: expected at least one for a LandedFeed, got none"
    for feed in asked.feeds:
        if feed in contracts.feed_names():
            if (owner := contracts.feed(feed).owner) != asked.team:
                yield f"--feed: expected a feed of team {asked.team}, got {feed} of team {owner}"
        elif asked.archetype != "LandedFeed":
            yield f"--feed: expected a feed with a contract, got {feed!r}"
        elif not _is_name(feed):
            yield f"--feed: expected a name as a_b1, got {feed!r}"


def _unknown(dataset: str, asked: Request, flag: str) -> Iterator[str]:
    schema, _, name = dataset.partition(".")
    if schema == "stage":
        yield f"expected core or a team's schema, got {dataset}, which is internal"
        return
    if dataset == asked.dataset:
        if flag == "--reads":
            yield f"expected what others write, got its own {dataset}"
        return
    schemas = ["core", *contracts.team_schemas()]
    if schema not in schemas:
        yield f"expected a table of {', '.join(schemas)}, got {dataset!r}"
        return
    try:
        contracts.table(schema, name)
    except ContractError as error:
        known = [d for d in contracts.datasets() if d.startswith(f"{schema}.")]
        if dataset in known:
            yield f"expected a contract that can be read: {error}"
            return
        yield f"expected one of {', '.join(known)}, got {dataset!r}"


def _outputs(asked: Request) -> Iterator[str]:
    names = Counter(column.name for column in asked.columns)
    yield from (f"--column: expected {name} once" for name, n in names.items() if n > 1)
    if not asked.keys:
        yield "--column: expected at least one marked `key`, got none"
    if asked.archetype == "Reconciliation" and not asked.others:
        yield "--column: expected one to compare, that is no key, got none"
    is_instruction = asked.archetype == "Instruction"
    if is_instruction and (asked.lands is None) == (asked.recipient is None):
        yield "--lands, --recipient: expected one of them for an Instruction"
    if not is_instruction and (asked.lands or asked.recipient):
        yield "--lands, --recipient: expected none of them but for an Instruction"
    if asked.lands is not None and asked.lands not in contracts.feed_names():
        feeds = ", ".join(contracts.feed_names())
        yield f"--lands: expected a feed of {feeds}, got {asked.lands!r}"
    if asked.recipient is not None and not _RECIPIENT.fullmatch(asked.recipient):
        yield f"--recipient: expected a folder of letters and digits, got {asked.recipient!r}"
