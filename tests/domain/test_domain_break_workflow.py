"""Who may do what about a break, and what becomes of it (`rules §9`)."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from domain_frames import frame
from hypothesis import given
from hypothesis import strategies as st

from acme.domain import break_workflow as flow

BREAK = {
    "break_id": "b",
    "book": "live",
    "class": "price",
    "basis": None,
    "owner": "team:operations",
    "state": "open",
    "explained_by": None,
    "corrected_by": None,
}
BREAKS = dict.fromkeys(BREAK, pl.String)
ACTIONS = {
    name: flow.OUTCOME_SCHEMA[name]
    for name in (
        *("action_id", "break_id", "action", "actor", "acted_at", "assignee", "comment"),
        "file_sha256",
    )
}
NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
STATES = ("open", "explained", "corrected", "closed")
HISTORY = ("from_state", "to_state", "outcome", "reason")


def breaks(*changes: dict) -> pl.DataFrame:
    return frame(BREAKS, [BREAK | c for c in changes])


def actions(*changes: dict) -> pl.DataFrame:
    rows = [
        {
            "action_id": f"{n}",
            "break_id": "b",
            "action": "comment",
            "actor": "ann",
            "acted_at": NOON + timedelta(minutes=n),
            "assignee": None,
            "comment": "so it is",
            "file_sha256": "f",
        }
        | change
        for n, change in enumerate(changes)
    ]
    return pl.DataFrame(rows, schema=ACTIONS)


def shown(*ids: str) -> pl.DataFrame:
    return pl.DataFrame({"break_id": list(ids)}, schema={"break_id": pl.String})


def applied(
    before: pl.DataFrame, done: pl.DataFrame, *on_show: str
) -> tuple[list[dict], list[tuple]]:
    after, outcomes = flow.apply(before, shown(*on_show), done)
    assert after.schema == before.schema
    assert dict(outcomes.schema) == flow.OUTCOME_SCHEMA
    return after.to_dicts(), outcomes.select(HISTORY).rows()


# Worked from the rules: (action, state before) -> state after, or why not. The break is of an
# instruction, nothing shows it today, and another person explained it.
TABLE = {
    ("explain", "open"): "explained",
    ("explain", "explained"): "already_explained",
    ("explain", "corrected"): "already_corrected",
    ("explain", "closed"): "closed_break",
    ("correct", "open"): "corrected",
    ("correct", "explained"): "corrected",
    ("correct", "corrected"): "already_corrected",
    ("correct", "closed"): "closed_break",
    ("close", "open"): "not_corrected",
    ("close", "explained"): "not_corrected",
    ("close", "corrected"): "closed",
    ("close", "closed"): "closed_break",
    ("assign", "open"): "open",
    ("assign", "explained"): "explained",
    ("assign", "corrected"): "corrected",
    ("assign", "closed"): "closed_break",
    ("comment", "open"): "open",
    ("comment", "explained"): "explained",
    ("comment", "corrected"): "corrected",
    ("comment", "closed"): "closed_break",
}


@pytest.mark.parametrize(("action", "state"), sorted(TABLE))
def test_what_may_be_done_in_which_state(action: str, state: str) -> None:
    before = breaks({"state": state, "explained_by": "bob"})
    (row,), (outcome,) = applied(before, actions({"action": action, "assignee": "eve"}))
    expected = TABLE[action, state]
    if expected in STATES:
        assert (row["state"], outcome) == (expected, (state, expected, "applied", None))
    else:
        assert (row["state"], outcome) == (state, (state, state, "refused", expected))
    assert row["owner"] == ("eve" if action == "assign" and state != "closed" else BREAK["owner"])


def test_every_move_of_the_table_is_a_transition_and_no_other() -> None:
    people = {(b, a) for (_, b), a in TABLE.items() if a in STATES and a != b}
    evidence = {("open", "corrected"), ("explained", "corrected"), ("corrected", "open")}
    assert people | evidence == flow.TRANSITIONS
    assert evidence == flow.EVIDENCE


@pytest.mark.parametrize("name", ["ann", "Ann", "  ANN "])
@pytest.mark.parametrize("hand", ["explained_by", "corrected_by"])
@pytest.mark.parametrize("hands", ["ann", "bob; Ann", "ANN; eve"])
def test_four_eyes(name: str, hand: str, hands: str) -> None:
    before = breaks({"state": "corrected", hand: hands})
    (row,), (outcome,) = applied(before, actions({"action": "close", "actor": name}))
    assert (row["state"], outcome[-1]) == ("corrected", "four_eyes")
    (row,), _ = applied(before, actions({"action": "close", "actor": "joanna"}))
    assert row["state"] == "closed"


@pytest.mark.parametrize("action", ["explain", "correct"])
@pytest.mark.parametrize("late", [False, True])
def test_who_came_too_late_to_explain_does_not_close(action: str, *, late: bool) -> None:
    # The evidence corrected it first; a close that claims an earlier time is no way round.
    tried, closes = {"action": action, "actor": "Alice"}, {"action": "close", "actor": "alice "}
    done = actions(*([closes, tried] if late else [tried, closes]))
    (row,), outcomes = applied(breaks({"state": "corrected"}), done)
    assert row["state"] == "corrected"
    assert {o[-1] for o in outcomes} == {"already_corrected", "four_eyes"}
    # In a later run too.
    (row,), (outcome,) = applied(breaks(row), actions(closes))
    assert (row["state"], outcome[-1]) == ("corrected", "four_eyes")
    (row,), _ = applied(breaks(row), actions({"action": "close", "actor": "bob"}))
    assert row["state"] == "closed"


@pytest.mark.parametrize(
    "name", ["ann lee", "ANN  LEE", " Ann\u00a0Lee", "AnnLee", "ann\u200b lee", "\uff21nn Lee"]
)
def test_a_name_that_only_looks_other_is_the_same_person(name: str) -> None:
    assert flow.person(name) == flow.person("Ann Lee")
    assert flow.person(name) != flow.person("Anna Lee")


def test_a_break_that_is_still_shown_is_not_corrected_by_hand() -> None:
    (row,), (outcome,) = applied(breaks({}), actions({"action": "correct"}), "b")
    assert (row["state"], outcome[-1]) == ("open", "still_shown")
    (row,), _ = applied(breaks({}), actions({"action": "correct"}), "another")
    assert (row["state"], row["corrected_by"]) == ("corrected", "ann")


@pytest.mark.parametrize(
    "change", [{"basis": "settled"}, {"class": "stale_statement"}, {"class": "statement_defect"}]
)
def test_only_a_statement_corrects_a_break_of_a_statement(change: dict) -> None:
    (row,), (outcome,) = applied(breaks(change), actions({"action": "correct"}))
    assert (row["state"], outcome[-1]) == ("open", "needs_statement")


def test_actions_work_in_the_order_of_their_time_then_their_id() -> None:
    done = actions(
        {"action": "close", "actor": "eve", "acted_at": NOON + timedelta(hours=2)},
        {"action": "correct", "actor": "bob", "acted_at": NOON, "action_id": "y"},
        {"action": "explain", "actor": "ann", "acted_at": NOON, "action_id": "x"},
    )
    (row,), outcomes = applied(breaks({}), done)
    assert [o[:2] for o in outcomes] == [
        ("open", "explained"),
        ("explained", "corrected"),
        ("corrected", "closed"),
    ]
    assert (row["explained_by"], row["corrected_by"]) == ("ann", "bob")


def test_who_explains_twice_in_a_life_is_named_once() -> None:
    before = breaks({"explained_by": "ann"})
    for name, hands in (("bob", "ann; bob"), ("ANN", "ann")):
        (row,), _ = applied(before, actions({"action": "explain", "actor": name}))
        assert row["explained_by"] == hands


def test_names_are_kept_and_compared_without_outer_blanks() -> None:
    (row,), _ = applied(breaks({}), actions({"action": "explain", "actor": "  Bob "}))
    assert row["explained_by"] == "Bob"
    assert flow.people("ann;  ; BOB ") == {"ann", "bob"}
    assert flow.people(None) == set()


def test_an_unknown_break_is_told_and_changes_nothing() -> None:
    before = breaks({}, {"break_id": "c"})
    after, outcomes = flow.apply(before, shown(), actions({"break_id": "x"}, {"break_id": "c"}))
    assert after.equals(before)
    assert outcomes.select("book", *HISTORY).rows() == [
        (None, None, None, "refused", "unknown_break"),
        ("live", "open", "open", "applied", None),
    ]


def test_no_action_changes_nothing() -> None:
    before = breaks({}, {"break_id": "a"})
    after, outcomes = flow.apply(before, shown("a"), actions())
    assert after.equals(before)
    assert outcomes.is_empty()


# ---- what the check of every run holds ----------------------------------------------------------


def wrong(before: pl.DataFrame, after: pl.DataFrame, outcomes: pl.DataFrame) -> list[tuple]:
    return flow.illegal_moves(before, after, outcomes).rows()


NOTHING = flow.apply(breaks(), shown(), actions())[1]


@pytest.mark.parametrize("before", [None, *STATES])
@pytest.mark.parametrize("after", [None, *STATES])
def test_moves_without_any_person(before: str | None, after: str | None) -> None:
    legal = {(a, a) for a in ("open", "explained", "corrected")} | flow.EVIDENCE
    # A closed break is no more; one that shows again is a new one.
    legal |= {(None, None), (None, "open"), ("closed", None), ("closed", "open")}
    found = wrong(
        *[breaks(*([] if s is None else [{"state": s}])) for s in (before, after)], NOTHING
    )
    assert (not found) == ((before, after) in legal), found


def test_moves_of_people_are_those_on_record() -> None:
    before = breaks({"state": "explained", "explained_by": "ann"})
    # The evidence corrected it; bob closes.
    today = breaks({"state": "corrected", "explained_by": "ann"})
    after, outcomes = flow.apply(today, shown(), actions({"action": "close", "actor": "bob"}))
    assert wrong(before, after, outcomes) == []
    assert wrong(before, today, outcomes) == [("b", "is corrected, not closed")]
    assert wrong(before, after, NOTHING) == [
        ("b", "the evidence moved it from explained to closed")
    ]
    assert wrong(breaks(), after, outcomes) == [("b", "new and corrected")]
    assert wrong(before, breaks(), outcomes) == [("b", "was explained and is gone")]


def test_a_close_by_the_wrong_hands_is_found() -> None:
    before = breaks({"state": "corrected"})
    after, outcomes = flow.apply(before, shown(), actions({"action": "close", "actor": "Bob"}))
    for hand in ("explained_by", "corrected_by"):
        named = after.with_columns(pl.lit("bob").alias(hand))
        assert wrong(before, named, outcomes) == [
            ("b", "Bob closed it, and had explained or corrected it or tried to")
        ]


def test_a_record_that_does_not_follow_on_is_found() -> None:
    before = breaks({})
    after, outcomes = flow.apply(
        before, shown(), actions({"action": "explain"}, {"action": "correct", "actor": "bob"})
    )
    second = pl.col("action") == "correct"
    skipped = outcomes.with_columns(
        pl.when(second).then(pl.lit("open")).otherwise("from_state").alias("from_state")
    )
    assert wrong(before, after, skipped) == [("b", "correct found it open, not explained")]
    forged = outcomes.with_columns(
        pl.when(second).then(pl.lit("closed")).otherwise("to_state").alias("to_state")
    )
    assert wrong(before, after, forged) == [("b", "correct moved it to closed")]


def test_the_record_is_read_by_time_whatever_the_order_of_its_rows() -> None:
    before = breaks({})
    done = ("explain", "correct", "comment", "close")
    after, outcomes = flow.apply(
        before,
        shown(),
        actions(*[{"action": a, "actor": f"p{n}", "assignee": "x"} for n, a in enumerate(done)]),
    )
    assert [row["state"] for row in after.to_dicts()] == ["closed"]
    assert wrong(before, after, outcomes.reverse()) == []


def test_an_action_on_a_break_that_never_was_is_found() -> None:
    _, outcomes = flow.apply(breaks({}), shown(), actions({"action": "explain"}))
    assert wrong(breaks(), breaks(), outcomes) == [("b", "was acted on and is gone")]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(flow.PEOPLE)), st.sampled_from(["ann", "Ann ", "bob", "eve"])
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_nobody_closes_what_he_worked_on_or_what_is_shown(
    done: list[tuple[str, str]], on_show: bool
) -> None:
    before = breaks({})
    after, outcomes = flow.apply(
        before,
        shown(*(["b"] if on_show else [])),
        actions(*[{"action": a, "actor": n, "assignee": "x"} for a, n in done]),
    )
    (row,) = after.to_dicts()
    assert flow.illegal_moves(before, after, outcomes).is_empty()
    if row["state"] == "closed":
        assert not on_show
        (closer,) = outcomes.filter(
            (pl.col("action") == "close") & (pl.col("outcome") == "applied")
        )["actor"]
        tried = {n.strip().casefold() for a, n in done if a in {"explain", "correct"}}
        assert closer.strip().casefold() not in tried
