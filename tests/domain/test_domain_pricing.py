"""Accepted prices, holds, releases, corrections, price limits (`rules §10`)."""

from datetime import date

import pytest
from domain_frames import P, T, prices

from acme.domain import pricing
from acme.domain.pricing import PriceBook, beyond_limit, take_file

DAY = [date(2026, 3, 5), date(2026, 3, 6), date(2026, 3, 9), P, T]
TENTH = 10_000_000  # 0.1 at 8 decimals


def take(
    book: PriceBook, *rows: tuple[int, int], limit: int | None = None, run: date = T, sha: str = "f"
):
    """Take a file of asset A: (day, price in whole units)."""
    given = [(DAY[d], "A", p * 10**6) for d, p in rows]
    status = take_file(book, given, sha, {"A": limit}, run)
    return {DAY.index(d): s for (d, _), s in status.items()}


def book(**days: int) -> PriceBook:
    return PriceBook({(DAY[int(d[1:])], "A"): p * 10**6 for d, p in days.items()})


def accepted(b: PriceBook) -> dict[int, int]:
    return {DAY.index(d): p // 10**6 for (d, _), p in b.accepted.items()}


def held(b: PriceBook) -> dict[int, tuple]:
    return {
        DAY.index(d): (why, tuple(p // 10**6 for p in c), sha, since)
        for (d, _), (why, c, sha, since) in b.held.items()
    }


def test_a_first_price_is_accepted() -> None:
    b = book()
    assert take(b, (0, 10), (1, 11)) == {0: "accepted", 1: "accepted"}
    assert accepted(b) == {0: 10, 1: 11}


def test_equal_rows_are_one() -> None:
    b = book()
    assert take(b, (0, 10), (0, 10)) == {0: "accepted"}
    assert held(b) == {}


def test_rows_that_disagree_hold_their_key_alone() -> None:
    b = book()
    assert take(b, (0, 10), (0, 11), (1, 12)) == {0: "held", 1: "accepted"}
    assert accepted(b) == {1: 12}
    assert held(b) == {0: ("conflicting_rows", (10, 11), "f", T)}


def test_a_hold_on_an_accepted_price_takes_it_away() -> None:
    b = book(d0=10)
    assert take(b, (0, 10), (0, 11)) == {0: "held"}
    assert accepted(b) == {}


@pytest.mark.parametrize("value", [10, 11, 99])
def test_a_later_file_s_single_value_releases(value: int) -> None:
    b = book()
    take(b, (0, 10), (0, 11))
    assert take(b, (0, value)) == {0: "accepted"}
    assert (accepted(b), held(b)) == ({0: value}, {})


def test_a_hold_that_goes_on_keeps_its_first_date_and_names_the_newest_candidates() -> None:
    b = book()
    take(b, (0, 10), (0, 11), run=P, sha="f1")
    take(b, (0, 12), (0, 11), run=T, sha="f2")
    assert held(b) == {0: ("conflicting_rows", (11, 12), "f2", P)}


def test_another_value_for_an_accepted_key_is_a_correction() -> None:
    b = book(d0=10)
    assert take(b, (0, 11)) == {0: "accepted"}
    assert accepted(b) == {0: 11}


@pytest.mark.parametrize(
    ("price", "previous", "limit", "beyond"),
    [
        (110, 100, TENTH, False),  # exactly the limit is believable
        (111, 100, TENTH, True),
        (90, 100, TENTH, False),
        (89, 100, TENTH, True),
        (10**9, 1, None, False),
        (100, 100, 0, False),
        (101, 100, 0, True),
        (1_100_001, 1_000_000, TENTH, True),
    ],
)
def test_beyond_limit_at_its_edge(
    price: int, previous: int, limit: int | None, beyond: bool
) -> None:
    assert beyond_limit(price, previous, limit) == beyond


def test_an_unbelievable_move_is_held_until_it_is_repeated() -> None:
    b = book(d0=100)
    assert take(b, (1, 111), limit=TENTH) == {1: "held"}
    assert held(b)[1][0] == "price_limit"
    assert take(b, (1, 111), limit=TENTH) == {1: "accepted"}
    assert accepted(b) == {0: 100, 1: 111}


def test_another_value_releases_a_price_limit_hold_too() -> None:
    b = book(d0=100)
    take(b, (1, 111), limit=TENTH)
    assert take(b, (1, 101), limit=TENTH) == {1: "accepted"}


def test_moves_are_measured_from_the_newest_earlier_accepted_price() -> None:
    # Day 1 is held, so day 2 is measured from day 0.
    b = book(d0=100)
    assert take(b, (1, 120), (2, 121), limit=TENTH) == {1: "held", 2: "held"}
    b = book(d0=100, d2=200)
    assert take(b, (1, 105), limit=TENTH) == {1: "accepted"}  # not from a later date
    b = book()
    assert take(b, (0, 1), (1, 1000), limit=None) == {0: "accepted", 1: "accepted"}
    assert take(book(), (0, 1000), limit=TENTH) == {0: "accepted"}  # nothing to compare with


def test_a_price_that_is_taken_away_measures_no_later_one() -> None:
    # 150 on day 1 is disputed by the file that gives day 2: 150 is half as much again as day 0.
    b = book(d0=100, d1=150)
    assert take(b, (1, 150), (1, 151), (2, 150), limit=TENTH) == {1: "held", 2: "held"}
    assert held(b)[2][0] == "price_limit"


def test_the_newest_price_before_a_day() -> None:
    prices_ = {DAY[0]: 1, DAY[2]: 3, DAY[1]: 2}
    assert [pricing.newest_before(prices_, d) for d in DAY[:4]] == [None, 1, 2, 3]


def test_the_row_order_of_a_file_has_no_effect() -> None:
    rows = [(0, 100), (1, 105), (2, 150), (3, 155)]
    forward, backward = book(), book()
    assert take(forward, *rows, limit=TENTH) == take(backward, *rows[::-1], limit=TENTH)
    assert (accepted(forward), held(forward)) == (accepted(backward), held(backward))


def test_a_correction_of_an_accepted_price_is_not_limited() -> None:
    b = book(d0=100, d1=101)
    assert take(b, (1, 150), limit=TENTH) == {1: "accepted"}


def test_what_prices_are_still_needed() -> None:
    b = book(d0=1, d1=2, d2=3, d3=4)
    assert {DAY.index(d) for d, _ in pricing.still_needed(b, DAY[2])} == {1, 2, 3}
    assert {DAY.index(d) for d, _ in pricing.still_needed(b, T)} == {3}
    assert {DAY.index(d) for d, _ in pricing.still_needed(b, DAY[0])} == {0, 1, 2, 3}
    # What is new in this run is kept whatever its date; what is new and held is no price.
    news = frozenset({(DAY[0], "A"), (DAY[0], "B")})
    assert {DAY.index(d) for d, _ in pricing.still_needed(b, T, news)} == {0, 3}


def test_prices_of_a_day_and_newest_prices() -> None:
    frame = prices((DAY[2], "A", "1"), (P, "A", "2"), (T, "A", "3"), (DAY[2], "B", "4"))
    assert pricing.prices_of(frame, P).rows() == [("A", 2)]
    assert sorted(pricing.last_prices(frame, P).rows()) == [("A", 2), ("B", 4)]
    assert sorted(pricing.last_prices(frame[::-1], P).rows()) == [("A", 2), ("B", 4)]
    assert pricing.last_prices(frame, DAY[0]).is_empty()
