"""The life of a break: identity, age, states, suspension (`rules §9`)."""

import hashlib
from datetime import date, timedelta

import polars as pl
import pytest
from domain_frames import UNITS, P, T, frame

from acme.domain import breaks
from acme.domain.calendars import Calendar
from acme.domain.matching import FOUND_SCHEMA

DEALING = Calendar(frozenset({date(2026, 4, 3), date(2026, 4, 6)}))
ROW = {
    "book": "live",
    "custodian_id": "CUST",
    "asset_id": "A",
    "class": "quantity",
    "reference": "statement:settled",
    "basis": "settled",
    "ours": "1",
    "theirs": "2",
    "difference": "1",
    "evidence": "seen",
}
EARLIER = FOUND_SCHEMA | {
    "break_id": pl.String,
    "first_seen": pl.Date,
    "age": pl.Int32,
    "age_bucket": pl.String,
    "owner": pl.String,
    "state": pl.String,
    "explained_by": pl.String,
    "corrected_by": pl.String,
}
PROVEN = {"break_id": pl.String}


def found(*changes: dict) -> pl.DataFrame:
    return frame(FOUND_SCHEMA, [ROW | c for c in changes])


def identity(row: dict) -> str:
    return breaks.break_id(*(row[n] for n in breaks.IDENTITY))


def earlier(*changes: dict) -> pl.DataFrame:
    rows = []
    for change in changes:
        row = (
            ROW
            | {"first_seen": P, "age": 0, "age_bucket": "0-1", "owner": "ann", "state": "open"}
            | change
        )
        rows.append(row | {"break_id": identity(row)})
    return frame(EARLIER, rows)


def carried(
    today: pl.DataFrame, before: pl.DataFrame, *proven: str, run_date: date = T
) -> list[dict]:
    return breaks.carry(
        breaks.with_ids(today),
        before,
        frame(PROVEN, [{"break_id": p} for p in proven]),
        run_date,
        DEALING,
    ).rows(named=True)


def test_identity_is_custodian_asset_class_reference_and_book() -> None:
    text = "live\nCUST\nA\nquantity\nstatement:settled"
    assert identity(ROW) == hashlib.sha256(text.encode()).hexdigest()[:16]
    changed = [
        {"book": "canary"},
        {"custodian_id": "X"},
        {"asset_id": None},
        {"class": "timing"},
        {"reference": "statement:traded"},
    ]
    assert len({identity(ROW | c) for c in changed} | {identity(ROW)}) == 6
    # Figures and evidence are no part of it.
    assert identity(ROW | {"ours": "7", "evidence": "other"}) == identity(ROW)


def test_a_new_break_is_open_and_owned() -> None:
    (row,) = carried(found({}), earlier())
    assert (row["state"], row["first_seen"], row["age"], row["age_bucket"]) == ("open", T, 0, "0-1")
    assert row["owner"] == breaks.OWNER
    assert row["break_id"] == identity(ROW)


@pytest.mark.parametrize(
    ("first", "run_date", "age", "bucket"),
    [
        (T, T, 0, "0-1"),
        (P, T, 1, "0-1"),
        (date(2026, 3, 9), T, 2, "2-3"),
        (date(2026, 3, 6), T, 3, "2-3"),  # a Friday
        (date(2026, 3, 5), T, 4, "4-5"),
        (date(2026, 3, 4), T, 5, "4-5"),
        (date(2026, 3, 3), T, 6, "6+"),
        (date(2026, 4, 2), date(2026, 4, 7), 1, "0-1"),  # over Easter
    ],
)
def test_age_in_business_days(first: date, run_date: date, age: int, bucket: str) -> None:
    (row,) = carried(found({}), earlier({"first_seen": first}), run_date=run_date)
    assert (row["age"], row["age_bucket"], row["first_seen"]) == (age, bucket, first)


@pytest.mark.parametrize(
    ("before", "seen_again", "proven", "after"),
    [
        ("open", True, False, "open"),
        ("explained", True, False, "explained"),
        ("corrected", True, False, "open"),  # it reopens
        ("open", False, True, "corrected"),
        ("explained", False, True, "corrected"),
        ("open", False, False, "open"),  # nobody has looked
        ("explained", False, False, "explained"),
        ("corrected", False, False, "corrected"),  # only people close
        ("corrected", False, True, "corrected"),
    ],
)
def test_states_from_day_to_day(before: str, seen_again: bool, proven: bool, after: str) -> None:
    today = found({"ours": "9"}) if seen_again else found()
    rows = carried(today, earlier({"state": before}), *([identity(ROW)] if proven else []))
    assert [r["state"] for r in rows] == [after]
    assert rows[0]["first_seen"] == P
    assert rows[0]["owner"] == "ann"
    assert rows[0]["ours"] == (9 if seen_again else 1)


def test_a_closed_break_is_gone_and_is_a_new_one_when_it_shows_again() -> None:
    before = earlier({"state": "closed", "explained_by": "ann", "corrected_by": "bob"})
    assert carried(found(), before) == []
    (row,) = carried(found({}), before)
    assert (row["state"], row["first_seen"], row["owner"]) == ("open", T, breaks.OWNER)
    assert (row["explained_by"], row["corrected_by"]) == (None, None)


def test_a_break_remembers_who_worked_on_it_as_long_as_it_lives() -> None:
    before = earlier({"state": "corrected", "explained_by": "ann", "corrected_by": "bob"})
    for today in (found({}), found()):
        (row,) = carried(today, before)
        assert (row["explained_by"], row["corrected_by"]) == ("ann", "bob")


def test_the_same_break_found_twice_is_one() -> None:
    assert len(carried(found({}, {"evidence": "again"}), earlier())) == 1


def test_breaks_keep_the_order_they_were_found_in() -> None:
    references = [f"r{n * 7 % 50}" for n in range(50)]
    rows = breaks.with_ids(found(*[{"reference": r} for r in references]))
    assert rows["reference"].to_list() == references


def whole(*accounts: tuple[str, str, str]) -> pl.DataFrame:
    names = ("book", "custodian_id", "basis")
    return frame(
        dict.fromkeys(names, pl.String), [dict(zip(names, a, strict=True)) for a in accounts]
    )


EVENT = dict.fromkeys(("confirmation_id", "instruction_id", "amends"), pl.String)
C1 = frame(EVENT, [{"confirmation_id": "c1", "instruction_id": "I1"}])


def disproved(
    before: pl.DataFrame, accounts: pl.DataFrame, amended: list[str], lines: pl.DataFrame
) -> bool:
    """Say whether the one earlier break is, with c1 of I1 and what amends these confirmations."""
    events = [{"confirmation_id": f"new-{i}", "amends": i} for i in amended]
    known = breaks.amended(frame(EVENT, events), C1.clear(), C1)
    return breaks.disproved(before, accounts, known, C1, lines).height == 1


def open_lines(
    *ids: str, state: str = "booked", closing: str | None = "2", disputed: bool = False
) -> pl.DataFrame:
    schema = {
        "instruction_id": pl.String,
        "state": pl.String,
        "closing_price": UNITS,
        "disputed": pl.Boolean,
    }
    line = {"state": state, "closing_price": closing, "disputed": disputed}
    return frame(schema, [line | {"instruction_id": i} for i in (*ids, None)])


SETTLED = ("live", "CUST", "settled")


@pytest.mark.parametrize(
    ("change", "accounts", "expected"),
    [
        ({}, [SETTLED], True),
        ({}, [], False),
        ({}, [("live", "CUST", "traded")], False),
        ({}, [("live", "OTHER", "settled")], False),
        ({}, [("canary", "CUST", "settled")], False),
        ({"class": "statement_defect", "asset_id": None}, [SETTLED], True),
        ({"class": "stale_statement", "basis": None, "asset_id": None}, [], False),
        (
            {"class": "stale_statement", "basis": None, "asset_id": None},
            [("live", "CUST", "traded")],
            True,
        ),
        ({"state": "corrected"}, [SETTLED], False),
        ({"state": "explained"}, [SETTLED], True),
    ],
)
def test_a_statement_s_break_needs_a_whole_statement_of_its_basis(
    change: dict, accounts: list, expected: bool
) -> None:
    assert disproved(earlier(change), whole(*accounts), [], open_lines()) == expected


@pytest.mark.parametrize("kind", ["price", "consideration"])
@pytest.mark.parametrize(
    ("amended", "lines", "expected"),
    [
        ([], open_lines(), False),
        (["c1"], open_lines(), True),
        (["other"], open_lines("I1"), True),  # another closing price, while the line is open
        ([], open_lines("I2"), False),
        ([], open_lines("I1", closing=None), False),  # on hold
        ([], open_lines("I1", state="settled"), False),
        ([], open_lines("I1", disputed=True), False),
        (["c1"], open_lines("I1", state="settled"), True),
    ],
)
def test_a_price_break_stands_until_its_confirmation_is_amended_or_its_open_line_judged(
    kind: str, amended: list[str], lines: pl.DataFrame, expected: bool
) -> None:
    """Neither a statement nor the settlement of its line makes up for a wrong price."""
    before = earlier({"class": kind, "reference": "c1", "basis": None})
    assert disproved(before, whole(SETTLED), amended, lines) == expected


def test_an_instruction_s_arithmetic_is_judged_while_its_line_is_open() -> None:
    before = earlier({"class": "consideration", "reference": "I1", "basis": None})
    assert disproved(before, whole(), [], open_lines("I1"))
    assert not disproved(before, whole(), [], open_lines())
    settled = open_lines("I1", state="settled")
    assert not disproved(before, whole(), [], settled)
    assert disproved(before, whole(), ["c1"], settled)  # of I1


@pytest.mark.parametrize("kind", ["quantity", "consideration"])
def test_what_is_not_as_booked_is_judged_whenever_its_line_is(kind: str) -> None:
    reference = "I1" if kind == "quantity" else "I1:booked"
    before = earlier({"class": kind, "reference": reference, "basis": None})
    settled = open_lines("I1", state="settled", closing=None)
    assert disproved(before, whole(), [], settled)
    assert not disproved(before, whole(), [], open_lines("I2"))
    assert not disproved(before, whole(), [], open_lines("I1", disputed=True))


def test_a_confirmation_stated_anew_is_judged_anew() -> None:
    before = earlier({"class": "price", "reference": "c1", "basis": None})
    anew = breaks.amended(C1.clear(), C1, C1)
    assert breaks.disproved(before, whole(), anew, C1.clear(), open_lines()).height == 1
    assert breaks.amended(C1.clear(), C1, C1.clear()) == frozenset()
    itself = C1.with_columns(pl.lit("c1").alias("amends"))
    assert breaks.amended(itself, C1.clear(), C1) == frozenset()


@pytest.mark.parametrize("kind", ["quantity", "timing", "settlement_failed", "unknown"])
def test_other_breaks_of_open_instructions_are_judged_every_day(kind: str) -> None:
    before = earlier({"class": kind, "reference": "I1", "basis": None})
    assert disproved(before, whole(), [], open_lines("I1"))
    # A line that ended has nothing to wait for any more; what its figures were is another matter,
    # and so is a settlement that failed after another one.
    ended = disproved(before, whole(), [], open_lines())
    assert ended == (kind in {"timing", "unknown"})


def test_a_line_that_settled_at_its_old_figures_corrects_nothing() -> None:
    """Amended after it was booked, then settled: the new figures are not booked (`rules §9`).

    The line is gone from the open ones, so today cannot show the break; that is no correction, and
    its asset stays suspended until a correction or a person ends it.
    """
    before = earlier({"class": "quantity", "reference": "I1", "basis": None})
    assert not disproved(before, whole(), [], open_lines())


SUSPENDS = {"quantity", "missing_at_custodian", "missing_in_ledger", "unknown"}
CLASSES = [
    "timing",
    "missing_at_custodian",
    "missing_in_ledger",
    "quantity",
    "price",
    "consideration",
    "duplicate",
    "wrong_account",
    "statement_defect",
    "stale_statement",
    "settlement_failed",
    "canary_leak",
    "unknown",
]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("state", ["open", "explained", "corrected", "closed"])
def test_which_breaks_suspend_their_asset(kind: str, state: str) -> None:
    rows = breaks.suspended_assets(earlier({"class": kind, "state": state}), "USD")
    assert (rows.height == 1) == (kind in SUSPENDS and state in {"open", "explained"})


def test_no_suspension_for_the_currency_or_a_whole_statement() -> None:
    assert breaks.suspended_assets(earlier({"asset_id": "USD"}), "USD").is_empty()
    assert breaks.suspended_assets(earlier({"asset_id": None}), "USD").is_empty()


def test_an_asset_is_suspended_once_since_its_first_break_per_book() -> None:
    """Of two that were first seen on the same day the lower break_id is named."""
    first = {"first_seen": P - timedelta(5)}
    one, other = ROW | {"reference": "a"}, ROW | {"reference": "c"}
    rows = breaks.suspended_assets(
        earlier(
            {"reference": "b", "first_seen": P},
            {"reference": "a"} | first,
            {"reference": "c"} | first,
            {"asset_id": "B", "class": "timing"},
            {"book": "canary"},
            {"book": "canary", "asset_id": "0"},
        ),
        "USD",
    )
    assert rows.rows() == [
        ("canary", "0", identity(ROW | {"book": "canary", "asset_id": "0"}), P),
        ("canary", "A", identity(ROW | {"book": "canary"}), P),
        ("live", "A", min(identity(one), identity(other)), P - timedelta(5)),
    ]
