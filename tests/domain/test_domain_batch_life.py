"""How far a batch has come, from its lines (`rules §6`, `§7`)."""

from datetime import date

import polars as pl
import pytest

from acme.domain import batch_life

T, P = date(2026, 3, 5), date(2026, 3, 4)
LINES = {"book": pl.String, "batch_id": pl.String, "dealing_date": pl.Date, "state": pl.String}
KEY = ["book", "batch_id", "dealing_date"]


def batch(day: date, book: str = "live") -> tuple[str, str, date]:
    return book, f"B-{day}-{book}", day


def lines(*rows: tuple[date, str]) -> pl.DataFrame:
    return pl.DataFrame([(*batch(d), state) for d, state in rows], schema=LINES, orient="row")


def earlier(*states: str) -> pl.DataFrame:
    rows = [(*batch(P), None, state, 0, 0) for state in states]
    return pl.DataFrame(rows, schema=batch_life.SCHEMA, orient="row")


def sealed(*days: date) -> pl.DataFrame:
    return pl.DataFrame(
        [batch(d) for d in days],
        schema={k: LINES[k] for k in KEY},
        orient="row",
    )


def moved(found: pl.DataFrame) -> list[tuple]:
    columns = ["batch_id", "from_state", "state", "lines_placed", "lines_booked"]
    return found.select(columns).rows()


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("sealed", ["placed", "placed"], ("placed", 2, 0)),
        ("placed", ["placed", "booked"], ("placed", 1, 1)),
        ("placed", ["booked", "settled", "booked"], ("executed", 0, 2)),
        ("executed", ["settled"], ("settled", 0, 0)),
        # All its lines have ended, so that none is open; so has a batch that never had one.
        ("executed", [], ("settled", 0, 0)),
        ("sealed", [], ("settled", 0, 0)),
    ],
)
def test_a_batch_is_as_far_as_its_slowest_line(
    before: str, now: list[str], expected: tuple[str, int, int]
) -> None:
    found = batch_life.states(earlier(before), lines(*[(P, s) for s in now]), sealed())
    assert moved(found) == [(f"B-{P}-live", before, *expected)]
    assert batch_life.illegal_moves(found).is_empty()


def test_a_batch_of_today_is_sealed_whatever_its_lines() -> None:
    found = batch_life.states(earlier(), lines((T, "placed")), sealed(T))
    assert moved(found) == [(f"B-{T}-live", None, "sealed", 1, 0)]
    assert found.schema == batch_life.SCHEMA
    assert found["dealing_date"].to_list() == [T]


def test_a_settled_batch_is_told_once() -> None:
    assert batch_life.states(earlier("settled"), lines(), sealed()).is_empty()


def test_a_batch_that_a_correction_opens_again_comes_back() -> None:
    for before in (earlier(), earlier("settled")):
        found = batch_life.states(before, lines((P, "booked")), sealed())
        assert moved(found) == [(f"B-{P}-live", "settled", "executed", 0, 1)]
        assert batch_life.illegal_moves(found).is_empty()


def test_batches_of_two_books_and_dates_stand_apart_in_order() -> None:
    both = pl.concat([lines((P, "booked")), lines((T, "placed"))])
    found = batch_life.states(earlier("placed"), both, sealed(T))
    assert moved(found) == [
        (f"B-{P}-live", "placed", "executed", 0, 1),
        (f"B-{T}-live", None, "sealed", 1, 0),
    ]


def test_batches_are_told_in_the_order_of_their_ids() -> None:
    days = [date(2026, 3, day) for day in (3, 13, 10, 2, 11, 6, 12, 9)]
    found = batch_life.states(earlier(), lines(*[(d, "booked") for d in days]), sealed(T))
    assert found["dealing_date"].to_list() == sorted([*days, T])
    back = found.reverse().with_columns(from_state=pl.lit("settled"), state=pl.lit("placed"))
    assert batch_life.illegal_moves(back)["dealing_date"].to_list() == sorted([*days, T])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (a, b)
        for a in ("sealed", "placed", "executed", "settled")
        for b in ("sealed", "placed", "executed", "settled")
    ],
)
def test_only_the_moves_of_the_table_are_legal(before: str, after: str) -> None:
    legal = {
        ("sealed", "placed"),
        ("sealed", "executed"),
        ("sealed", "settled"),
        ("placed", "executed"),
        ("placed", "settled"),
        ("executed", "settled"),
        ("settled", "executed"),
    }
    found = pl.DataFrame([(*batch(P), before, after, 0, 0)], schema=batch_life.SCHEMA, orient="row")
    refused = [] if before == after or (before, after) in legal else [f"B-{P}-live"]
    assert batch_life.illegal_moves(found)["batch_id"].to_list() == refused


def test_the_first_state_is_no_move() -> None:
    found = batch_life.states(earlier(), lines(), sealed(T))
    assert batch_life.illegal_moves(found).is_empty()
