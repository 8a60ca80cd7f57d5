"""What people do about breaks: who may do what, and what becomes of the break (`rules §9`)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

Action = Literal["explain", "correct", "close", "assign", "comment"]

# From the state before to the state after, for what a person does; `None` leaves the state.
PEOPLE: Final[dict[Action, Mapping[str, str] | None]] = {
    "explain": {"open": "explained"},
    "correct": {"open": "corrected", "explained": "corrected"},
    "close": {"corrected": "closed"},
    "assign": None,
    "comment": None,
}
# Where those are named who may not close, for what they did or tried to do.
HANDS: Final[dict[Action, str]] = {"explain": "explained_by", "correct": "corrected_by"}
# What the evidence of a run does: a break it disproves is corrected, one it shows again is open.
EVIDENCE: Final[frozenset[tuple[str, str]]] = frozenset(
    {("open", "corrected"), ("explained", "corrected"), ("corrected", "open")}
)
TRANSITIONS: Final[frozenset[tuple[str, str]]] = EVIDENCE | {
    pair for moves in PEOPLE.values() if moves is not None for pair in moves.items()
}
CLOSED: Final = "closed"
SEPARATOR: Final = "; "
STATEMENT_CLASSES: Final = ("stale_statement", "statement_defect")

INSTANT: Final = pl.Datetime("us", "UTC")
OUTCOME_SCHEMA: Final[dict[str, pl.DataType]] = {
    "action_id": pl.String(),
    "book": pl.String(),
    "break_id": pl.String(),
    "action": pl.String(),
    "actor": pl.String(),
    "acted_at": INSTANT,
    "assignee": pl.String(),
    "comment": pl.String(),
    "from_state": pl.String(),
    "to_state": pl.String(),
    "outcome": pl.String(),
    "reason": pl.String(),
    "file_sha256": pl.String(),
}


@dataclass(frozen=True)
class Refusal:
    """Why an action has no effect: a word for the record, and a sentence for people."""

    reason: str
    text: str


def person(name: str) -> str:
    """Return a name as it is compared: whatever its case, its blanks and how its letters are coded.

    What does not show (blanks, controls, marks of direction) never makes another person.
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in text if unicodedata.category(c)[0] not in "ZC")


def people(names: str | None) -> set[str]:
    """Return the persons of an `explained_by` or `corrected_by`, as `person` compares them."""
    return {person(name) for name in (names or "").split(SEPARATOR) if name.strip()}


def hands(found: Mapping[str, Any]) -> set[str]:
    """Return the persons who explained or corrected a break, or tried to."""
    return set().union(*(people(found[column]) for column in HANDS.values()))


def refusal(
    found: Mapping[str, Any] | None, action: Action, actor: str, *, shown: bool
) -> Refusal | None:
    """Return why `actor` may not act on a break, None if it is free to.

    found: the break's row with state, class, basis, explained_by, corrected_by; None if there is
    no such break. shown: whether the evidence of the run shows the break.
    """
    if found is None:
        return Refusal("unknown_break", "there is no such break")
    return next(_refusals(found, action, actor, shown=shown), None)


def _refusals(
    found: Mapping[str, Any], action: Action, actor: str, *, shown: bool
) -> Iterator[Refusal]:
    state, moves = found["state"], PEOPLE[action]
    if state == CLOSED:
        yield Refusal("closed_break", "the break is closed")
    if moves is not None and state not in moves:
        if action == "close":
            yield Refusal("not_corrected", f"only a corrected break is closed; it is {state}")
        yield Refusal(f"already_{state}", f"the break is {state} already")
    if action == "close" and person(actor) in hands(found):
        yield Refusal(
            "four_eyes", f"{actor} explained or corrected it, or tried to: another one closes"
        )
    of_statement = found["basis"] is not None or found["class"] in STATEMENT_CLASSES
    if action == "correct" and of_statement:
        yield Refusal("needs_statement", "a whole statement that agrees corrects it, and no one")
    if action == "correct" and shown:
        yield Refusal("still_shown", "the evidence still shows it: nothing is written off")


def apply(
    breaks: pl.DataFrame, shown: pl.DataFrame, actions: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Let people act on today's breaks, in the order of acted_at and action_id.

    Whoever explains or corrects a break in this run has had a hand in it, whenever they say they
    did and whether or not it takes effect: the evidence may have been there first.

    breaks: `acme.domain.breaks.carry`. shown: break_id of those that today's evidence shows.
    actions: action_id, break_id, action, actor, acted_at, assignee, comment, file_sha256, each id
    once. Returns the breaks in their order, with state, owner, explained_by and corrected_by as
    the actions leave them; and OUTCOME_SCHEMA, one row per action: `applied`, or `refused` with a
    reason.
    """
    rows = {row["break_id"]: row for row in breaks.iter_rows(named=True)}
    on_show = set(shown["break_id"])
    ordered = actions.sort("acted_at", "action_id").to_dicts()
    for action in ordered:
        _lay_hand(rows.get(action["break_id"]), action)
    outcomes = [
        _act(rows.get(action["break_id"]), action, shown=action["break_id"] in on_show)
        for action in ordered
    ]
    return (
        pl.DataFrame(list(rows.values()), schema=breaks.schema, orient="row"),
        pl.DataFrame(outcomes, schema=OUTCOME_SCHEMA, orient="row"),
    )


def _lay_hand(found: dict[str, Any] | None, action: Mapping[str, Any]) -> None:
    column = HANDS.get(action["action"])
    if found is not None and column is not None:
        found[column] = _with_name(found[column], action["actor"])


def _act(found: dict[str, Any] | None, action: Mapping[str, Any], *, shown: bool) -> dict[str, Any]:
    name: Action = action["action"]
    refused = refusal(found, name, action["actor"], shown=shown)
    before = None if found is None else found["state"]
    if found is not None and refused is None:
        moves = PEOPLE[name]
        found["state"] = before if moves is None else moves[found["state"]]
        if name == "assign":
            found["owner"] = action["assignee"]
    return {
        **{k: action[k] for k in OUTCOME_SCHEMA if k in action},
        "book": None if found is None else found["book"],
        "from_state": before,
        "to_state": None if found is None else found["state"],
        "outcome": "applied" if refused is None else "refused",
        "reason": None if refused is None else refused.reason,
    }


def _with_name(names: str | None, name: str) -> str:
    if person(name) in people(names):
        return names or ""
    return SEPARATOR.join([*([names] if names else []), name.strip()])


def illegal_moves(earlier: pl.DataFrame, now: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return break_id and what is wrong of breaks that moved as no transition allows.

    earlier, now: core.reconciliation_breaks of two runs that follow each other. outcomes:
    core.break_actions of the later one. From the state before, the evidence makes at most one
    move, then each applied action one; a break that was not closed does not vanish; whoever
    explained or corrected it, or tried to, does not close it.
    """
    before = {
        row["break_id"]: row["state"]
        for row in earlier.filter(pl.col("state") != CLOSED).iter_rows(named=True)
    }
    after = {row["break_id"]: row for row in now.iter_rows(named=True)}
    applied: dict[str, list[dict[str, Any]]] = {}
    for action in (
        outcomes.filter(pl.col("outcome") == "applied")
        .sort("acted_at", "action_id")
        .iter_rows(named=True)
    ):
        applied.setdefault(action["break_id"], []).append(action)
    wrong = [
        (name, text)
        for name in sorted(before.keys() | after.keys() | applied.keys())
        if (text := _wrong(before.get(name), after.get(name), applied.get(name, [])))
    ]
    return pl.DataFrame(wrong, schema={"break_id": pl.String, "wrong": pl.String}, orient="row")


def _wrong(
    before: str | None, after: Mapping[str, Any] | None, applied: list[dict[str, Any]]
) -> str | None:
    if after is None:
        return f"was {before or 'acted on'} and is gone"
    state = applied[0]["from_state"] if applied else after["state"]
    if before is None and state != "open":
        return f"new and {state}"
    if before not in {None, state} and (before, state) not in EVIDENCE:
        return f"the evidence moved it from {before} to {state}"
    return next(_misdeeds(state, after, applied), None)


def _misdeeds(state: str, after: Mapping[str, Any], applied: list[dict[str, Any]]) -> Iterator[str]:
    for action in applied:
        if action["from_state"] != state:
            yield f"{action['action']} found it {action['from_state']}, not {state}"
        moves = PEOPLE[action["action"]]
        state = state if moves is None else moves.get(state, "")
        if action["to_state"] != state:
            yield f"{action['action']} moved it to {action['to_state']}"
        if action["action"] == "close" and person(action["actor"]) in hands(after):
            yield f"{action['actor']} closed it, and had explained or corrected it or tried to"
    if after["state"] != state:
        yield f"is {after['state']}, not {state}"
