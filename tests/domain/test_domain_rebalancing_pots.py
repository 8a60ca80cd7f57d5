"""Re-balancing of many pots: what each will hold, which are due, what they trade (`rules §5`)."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from domain_frames import CASH, CURRENCY, QUANTITY, RATIO, UNITS, P, T, frame, orders

from acme.domain import quantities as q
from acme.domain import rebalancing

THURSDAY, FRIDAY, MONDAY = date(2026, 3, 12), date(2026, 3, 13), date(2026, 3, 16)
ASSET = {
    "book": pl.String,
    "asset_id": pl.String,
    "unit_decimals": pl.Int32,
    "price": UNITS,
    "last_price": UNITS,
    "stress": RATIO,
    "settlement_date": pl.Date,
    "suspended": pl.Boolean,
}
POT = {
    "book": pl.String,
    "pot_id": pl.String,
    "risk_profile_id": pl.String,
    "opened_on": pl.Date,
    "status": pl.String,
    "reprofiled": pl.Boolean,
}
BALANCE = {
    "book": pl.String,
    "pot_id": pl.String,
    "state": pl.String,
    "asset_id": pl.String,
    "quantity": QUANTITY,
}
WEIGHT = {"risk_profile_id": pl.String, "asset_id": pl.String, "weight": RATIO}
PARAMETER = {
    "risk_profile_id": pl.String,
    "drift_band": RATIO,
    "cash_band": RATIO,
    "min_trade": CASH,
    "schedule": pl.String,
}


def market(books: tuple[str, ...] = ("live",), **changes: dict) -> rebalancing.Market:
    """Prices A 2.00, B 5.00, C 10.00, settling on Friday; stress 0.1."""
    base = {
        "unit_decimals": 4,
        "stress": "0.1",
        "settlement_date": FRIDAY,
        "suspended": False,
    }
    rows = [
        base
        | {"book": book, "asset_id": a, "price": p, "last_price": p}
        | changes.get(a, {})
        | changes.get(f"{book}_{a}", {})
        for book in books
        for a, p in {"A": "2", "B": "5", "C": "10"}.items()
    ]
    return rebalancing.Market(frame(ASSET, rows), CURRENCY, T, P)


def pots(*rows: tuple[str, str | None], book: str = "live") -> pl.DataFrame:
    """Make open pots of (pot_id, risk_profile_id)."""
    base = {"book": book, "opened_on": P, "status": "open", "reprofiled": False}
    return frame(POT, [base | {"pot_id": p, "risk_profile_id": r} for p, r in rows])


def balances(*rows: tuple[str, str, str], book: str = "live") -> pl.DataFrame:
    """Make settled balances of (pot_id, asset_id, quantity); a state may come last."""
    return frame(
        BALANCE,
        [
            {
                "book": book,
                "pot_id": row[0],
                "asset_id": row[1],
                "quantity": row[2],
                "state": row[3] if len(row) > 3 else "settled",
            }
            for row in rows
        ],
    )


def profiles(parameters: dict | None = None, **weights: dict[str, str]) -> rebalancing.Profiles:
    """Make profiles of weights; bands of 5 %, no minimum."""
    base = {"drift_band": "0.05", "cash_band": "0.05", "min_trade": "0", "schedule": "drift"}
    known = parameters if parameters is not None else {r: {} for r in weights}
    return rebalancing.Profiles(
        frame(
            WEIGHT,
            [
                {"risk_profile_id": r, "asset_id": a, "weight": w}
                for r, given in weights.items()
                for a, w in given.items()
            ],
        ),
        frame(PARAMETER, [base | {"risk_profile_id": r} | more for r, more in known.items()]),
    )


def n(text: str, decimals: int = 6) -> int:
    """Return minor units."""
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(decimals, "0"))


SELL = {"kind": "sell", "side": "S", "quantity_type": "U"}
AMOUNT_BUY = {"kind": "buy", "side": "B", "quantity_type": "A"}
UNIT_BUY = {"kind": "buy", "side": "B", "quantity_type": "U", "source": "rebalancing"}
BOOKED = {"state": "executed", "settlement_date": FRIDAY}
TODAY = {"state": "accepted", "dealing_date": T}
# One of each order there is, and what it has done to the balances so far.
ORDERS = [
    SELL | TODAY | {"asset_id": "A", "units": "10", "reserved": "10"},
    AMOUNT_BUY | TODAY | {"asset_id": "B", "amount": "25", "reserved": "25"},
    UNIT_BUY | {"asset_id": "B", "units": "4", "state": "placed"},
    SELL
    | TODAY
    | {"kind": "switch", "asset_id": "A", "to_asset_id": "C", "units": "15", "reserved": "15"},
    AMOUNT_BUY | TODAY | {"source": "switch", "asset_id": "C", "amount": "7"},
    UNIT_BUY | BOOKED | {"asset_id": "A", "units": "4", "consideration": "8"},
    AMOUNT_BUY | BOOKED | {"asset_id": "B", "amount": "9", "reserved": "9", "consideration": "9"},
    SELL | BOOKED | {"asset_id": "B", "units": "2", "reserved": "2", "consideration": "12.34"},
    {
        "kind": "withdrawal",
        "asset_id": None,
        "amount": "100",
        "reserved": "30",
        "state": "accepted",
    },
    {"kind": "withdrawal", "asset_id": None, "amount": "50", "state": "accepted"},
]
BUSY = [
    ("P2", CURRENCY, "1000"),
    ("P2", CURRENCY, "64", "reserved"),  # 25 + 9 + 30
    ("P2", CURRENCY, "-4.66", "in_flight"),  # - 8 - 9 + 12.34
    ("P2", "A", "100"),
    ("P2", "A", "25", "reserved"),  # 10 + 15
    ("P2", "A", "4", "in_flight"),
    ("P2", "B", "60"),
    ("P2", "B", "2", "reserved"),
    ("P2", "B", "-0.2", "in_flight"),  # 1.8 - 2
]
QUIET = [("P1", CURRENCY, "3.50"), ("P1", "A", "7"), ("P3", "B", "8"), ("P3", CURRENCY, "0.01")]


def projected() -> rebalancing.Projection:
    numbered = [{"order_id": f"o{k}", "pot_id": "P2"} | order for k, order in enumerate(ORDERS)]
    held = balances(*sorted([*QUIET, *BUSY]))
    return rebalancing.project(held, orders(*numbered), market())


def test_what_a_pot_will_hold_of_each_asset() -> None:
    found = projected().positions.filter(pl.col("pot_id") == "P2").sort("asset_id")
    flags = ["has_order", "has_buy", "has_sell"]
    assert found.select("asset_id", "units", "available", *flags).rows() == [
        # 100 + 25 + 4 - 10 - 15.
        ("A", n("104"), n("100"), True, False, True),
        # 60 + 2 - 0.2 + 25/5 + 4; the sale is booked.
        ("B", n("70.8"), n("60"), True, True, False),
        # 15 A at 2.00 will buy 3, and 7.00 will buy 0.7; a switch's buy is no third party's.
        ("C", n("3.7"), 0, True, False, False),
    ]


def test_what_a_pot_will_hold_in_cash() -> None:
    found = projected().cash.filter(pl.col("pot_id") == "P2")
    parts = ["cash", "settled", "promised", "withdrawals"]
    assert found.select(parts).rows() == [
        (
            # 1000 + 64 - 4.66 - 150 (withdrawals) - 25 - 7 (amounts) + 20 (sale) - 20 (unit buy).
            n("877.34", 2),
            n("1000", 2),
            # 22.01 (4 B at 5.00 x 1.1, and a penny) + 7 (switch) + 8 (booked) + 70 + 50 (rests).
            n("157.01", 2),
            2,
        )
    ]


def test_a_booked_sale_promises_nothing_even_where_no_reserve_stands() -> None:
    sale = SELL | BOOKED | {"asset_id": "B", "units": "2", "consideration": "10"}
    held = balances(
        ("P1", "B", "2"), ("P1", "B", "-2", "in_flight"), ("P1", CURRENCY, "10", "in_flight")
    )
    found = rebalancing.project(held, orders({"order_id": "o", "pot_id": "P1"} | sale), market())
    assert found.cash.select("cash", "settled", "promised").rows() == [(1000, 0, 0)]


def test_which_sells_will_bring_cash() -> None:
    found = projected()
    assert found.booked_sells.select("pot_id", "settlement_date", "pence").rows() == [
        ("P2", FRIDAY, 1234)
    ]
    # 10 A at 2.00, less a tenth; the switch's proceeds are spoken for.
    assert found.new_sells.select("pot_id", "settlement_date", "room").rows() == [
        ("P2", FRIDAY, n("18", 10))
    ]


@pytest.mark.parametrize(
    "change", [{"state": "placed"}, {"dealing_date": P}, {"side": "B"}, {"kind": "switch"}]
)
def test_only_sells_of_this_run_are_new(change: dict) -> None:
    sale = {"order_id": "o", "pot_id": "P1"} | ORDERS[0]
    held = balances(("P1", "A", "10", "reserved"))
    assert rebalancing.project(held, orders(sale), market()).new_sells.height == 1
    assert rebalancing.project(held, orders(sale | change), market()).new_sells.is_empty()


def test_pots_with_all_settled_and_no_order_are_told_as_they_are() -> None:
    found = projected()
    quiet = found.positions.filter(pl.col("pot_id") != "P2").sort("pot_id")
    assert quiet.select("pot_id", "asset_id", "units", "available").rows() == [
        ("P1", "A", n("7"), n("7")),
        ("P3", "B", n("8"), n("8")),
    ]
    assert not quiet.select(pl.any_horizontal("has_order", "has_buy", "has_sell").any()).item()
    cash = found.cash.filter(pl.col("pot_id") != "P2").sort("pot_id")
    assert cash.select("pot_id", "cash", "settled", "promised", "withdrawals").rows() == [
        ("P1", 350, 350, 0, 0),
        ("P3", 1, 1, 0, 0),
    ]


def test_pots_are_numbered_as_they_are_named() -> None:
    held = [*QUIET, *BUSY]
    order = {"order_id": "o", "pot_id": "P9"} | ORDERS[1]
    for rows in (sorted(held), held, held[::-1]):
        found = rebalancing.project(balances(*rows), orders(order), market())
        # The pots with balances in order, then that which has an order alone.
        assert found.pots["pot_id"].to_list() == ["P1", "P2", "P3", "P9"]
        for told in (found.positions, found.cash):
            assert told["pot_id"].to_list() == found.pots["pot_id"].gather(told["pot"]).to_list()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("canary", "P1"), ("canary", "P3"), ("live", "P1"), ("live", "P2")], True),
        ([("canary", "P9"), ("live", "P1")], True),
        ([("live", "P1"), ("live", "P1")], True),
        ([("live", "P1")], True),
        ([], True),
        ([("live", "P2"), ("live", "P1"), ("live", "P3")], False),
        ([("live", "P1"), ("canary", "P2")], False),
        ([("live", "P1"), ("canary", "P1")], False),
    ],
)
def test_whether_balances_are_in_the_order_of_pots(
    rows: list[tuple[str, str]], expected: bool
) -> None:
    given = pl.DataFrame(rows, schema={"book": pl.String, "pot_id": pl.String}, orient="row")
    assert rebalancing._is_sorted(given) is expected


def test_which_pots_are_quiet() -> None:
    held = pl.DataFrame(
        {
            "pot": [0, 0, 1, 2, 2, 3],
            "state": ["settled", "settled", "reserved", "settled", "in_flight", "settled"],
        }
    )
    ordered = pl.DataFrame({"pot": [3, 3]})
    quiet, busy = rebalancing._quiet_and_busy(held, ordered)
    assert quiet.collect()["pot"].to_list() == [0, 0]
    assert busy.collect()["pot"].to_list() == [1, 2, 2, 3]


EVEN = {"A": "0.6", "B": "0.3", "CASH": "0.1"}


def judged(
    given: pl.DataFrame,
    held: pl.DataFrame,
    plan: rebalancing.Profiles,
    *standing: dict,
    on: rebalancing.Market | None = None,
) -> dict[str, str]:
    """Return the outcome of every pot."""
    numbered = [{"order_id": f"o{k}"} | order for k, order in enumerate(standing)]
    on = on or market()
    found = rebalancing.find_due(given, rebalancing.project(held, orders(*numbered), on), plan, on)
    assert found["pot_id"].to_list() == given["pot_id"].to_list()
    return dict(found.select("pot_id", "outcome").iter_rows())


def test_pots_are_judged_apart() -> None:
    found = judged(
        pots(
            ("even", "R"),
            ("off", "R"),
            ("empty", "R"),
            ("self", "S"),
            ("lost", "X"),
            ("lacks", "R"),
        ),
        balances(
            ("off", "A", "500"),
            ("even", "A", "300"),
            ("even", "B", "60"),
            ("even", CURRENCY, "100"),
            ("self", "A", "1"),
            ("lost", "A", "1"),
            # 600 in A and 300 in C, none of B.
            ("lacks", "A", "300"),
            ("lacks", "C", "30"),
            ("lacks", CURRENCY, "100"),
        ),
        profiles({"R": {}, "S": {"schedule": "none"}}, R=EVEN, S={"CASH": "1"}),
    )
    assert found == {
        "even": "not_due",
        "off": "due",
        "empty": "no_value",
        "self": "self_select",
        "lost": "unknown_profile",
        "lacks": "due",
    }


def test_the_bands_of_a_profile_are_its_own() -> None:
    # 620 in A, 300 in B, 80 in cash of 1000: A is off by 20, cash by 20.
    held = [("A", "310"), ("B", "60"), (CURRENCY, "80")]
    bands = {
        "R": {"drift_band": "0.02", "cash_band": "0.02"},
        "S": {"drift_band": "0.01999999", "cash_band": "0.02"},
        "T": {"drift_band": "0.02", "cash_band": "0.01999999"},
        "U": {"drift_band": "1", "cash_band": "1", "schedule": "daily"},
    }
    found = judged(
        pots(*[(f"P{r}", r) for r in bands]),
        balances(*[(f"P{r}", a, u) for r in bands for a, u in held]),
        profiles(bands, **dict.fromkeys(bands, EVEN)),
    )
    assert found == {"PR": "not_due", "PS": "due", "PT": "due", "PU": "due"}


WIDE = {"R": {"cash_band": "1"}}


@pytest.mark.parametrize(
    ("weights", "held", "expected"),
    [
        # Of 1000: A is right, and B, of 0.3, is missing.
        ({"A": "0.6", "B": "0.3", "CASH": "0.1"}, {"A": "300", CURRENCY: "400"}, "due"),
        # B is at the band by its weight, and held; C, of 0.06, is missing.
        (
            {"A": "0.6", "B": "0.05", "C": "0.06", "CASH": "0.29"},
            {"A": "300", "B": "10", CURRENCY: "350"},
            "due",
        ),
        # Nothing but cash, where one asset is wanted, or one by no more than the band.
        ({"A": "0.6", "CASH": "0.4"}, {CURRENCY: "1000"}, "due"),
        ({"A": "0.05", "CASH": "0.95"}, {CURRENCY: "1000"}, "not_due"),
        # A is short by 100; by 50.
        ({"A": "0.6", "CASH": "0.4"}, {"A": "250", CURRENCY: "500"}, "due"),
        ({"A": "0.6", "CASH": "0.4"}, {"A": "275", CURRENCY: "450"}, "not_due"),
        # C is in no profile: 60, and 50.
        ({"A": "0.6", "CASH": "0.4"}, {"A": "300", "C": "6", CURRENCY: "340"}, "due"),
        ({"A": "0.6", "CASH": "0.4"}, {"A": "300", "C": "5", CURRENCY: "350"}, "not_due"),
        # 50 000.005 of C in 1 000 000.00: half a penny above the band.
        (
            {"A": "0.6", "CASH": "0.4"},
            {"A": "300000", "C": "5000.0005", CURRENCY: "350000"},
            "due",
        ),
        # No weight for cash is none: all in A, as it should be.
        ({"A": "1"}, {"A": "300"}, "not_due"),
    ],
)
def test_one_asset_off_makes_a_pot_due(
    weights: dict[str, str], held: dict[str, str], expected: str
) -> None:
    rows = [("P1", a, u) for a, u in held.items()]
    found = judged(pots(("P1", "R")), balances(*rows), profiles(WIDE, R=weights))
    assert found == {"P1": expected}


def test_the_smallest_weight_targets_an_asset() -> None:
    weights = {"A": "0.99999999", "C": "0.00000001", "CASH": "0"}
    held = balances(("P1", "A", "1"))
    found = judged(pots(("P1", "R")), held, profiles(R=weights), on=market(C={"price": None}))
    assert found == {"P1": "no_price"}


def test_a_pot_of_no_profile_has_a_value_all_the_same() -> None:
    held = balances(*[(p, *h) for p in ("P1", "P2", "P3") for h in (("A", "7"), (CURRENCY, "1"))])
    given = pots(("P1", "X"), ("P2", None), ("P3", "R"))
    found = rebalancing.rebalance(given, held, orders(), profiles({"R": {}}), market())
    assert found.decisions.select("outcome", "value").rows() == [
        ("unknown_profile", 15),
        ("unknown_profile", 15),
        ("unknown_profile", 15),
    ]


def test_a_self_select_profile_needs_no_weights() -> None:
    plan = profiles({"S": {"schedule": "none"}})
    assert judged(pots(("P1", "S")), balances(("P1", "A", "1")), plan) == {"P1": "self_select"}


def test_weights_without_parameters_and_parameters_without_weights_are_no_profile() -> None:
    found = judged(
        pots(("P1", "R"), ("P2", "S")),
        balances(("P1", "A", "1"), ("P2", "A", "1")),
        profiles({"R": {}}, S=EVEN),
    )
    assert found == {"P1": "unknown_profile", "P2": "unknown_profile"}


UNPRICED = {"price": None}


@pytest.mark.parametrize(
    ("held", "order", "expected"),
    [
        # Nothing is left of C once all is done: 5 reserved, 5 in flight out.
        ([("C", "5", "reserved"), ("C", "-5", "in_flight")], None, "due"),
        ([("C", "5"), ("C", "-5", "in_flight")], None, "due"),
        ([("C", "5")], None, "no_price"),
        # A switch into it will hold it, and so will an order for it.
        (
            [("A", "1", "reserved")],
            ORDERS[3] | {"units": "1", "reserved": "1"},
            "no_price",
        ),
        ([], AMOUNT_BUY | TODAY | {"source": "switch", "asset_id": "C", "amount": "1"}, "no_price"),
        ([], UNIT_BUY | TODAY | {"asset_id": "C", "units": "1"}, "no_price"),
        # Of an asset that the market does not know, too.
        ([], UNIT_BUY | TODAY | {"asset_id": "Z", "units": "1"}, "no_price"),
        ([("A", "1", "reserved")], ORDERS[3] | {"to_asset_id": "Z"}, "no_price"),
    ],
)
def test_what_has_no_price_stops_a_pot_that_holds_it(
    held: list[tuple], order: dict | None, expected: str
) -> None:
    found = judged(
        pots(("P1", "R"), ("P2", "R")),
        balances(("P1", CURRENCY, "1000"), *[("P1", *row) for row in held], ("P2", "A", "9")),
        profiles(R=EVEN),
        *([{"pot_id": "P1"} | order] if order else []),
        on=market(C=UNPRICED),
    )
    assert found == {"P1": expected, "P2": "due"}


def test_what_has_no_price_in_one_book_stops_no_pot_of_the_other() -> None:
    both = market(("live", "canary"), canary_A=UNPRICED)
    found = rebalancing.rebalance(
        pl.concat([pots(("P1", "R")), pots(("P1", "R"), book="canary")]),
        pl.concat(
            [balances(("P1", CURRENCY, "1000")), balances(("P1", CURRENCY, "1000"), book="canary")]
        ),
        orders(),
        profiles(R=EVEN),
        both,
    )
    assert found.decisions.select("book", "asset_id", "outcome").rows() == [
        ("canary", "", "no_price"),
        ("live", "", "due"),
        ("live", "A", "trade"),
        ("live", "B", "trade"),
    ]


def traded(
    given: pl.DataFrame,
    held: pl.DataFrame,
    plan: rebalancing.Profiles,
    *standing: dict,
    on: rebalancing.Market | None = None,
) -> dict[tuple[str, str], str]:
    """Return the signed units of every trade, by pot and asset."""
    numbered = [{"order_id": f"o{k}"} | order for k, order in enumerate(standing)]
    result = rebalancing.rebalance(given, held, orders(*numbered), plan, on or market())
    rows = result.trades.select("pot_id", "asset_id", "side", "units").rows()
    sign = {"B": "", "S": "-"}
    return {(p, a): f"{sign[s]}{u.normalize():f}" for p, a, s, u in rows}


IN_A = {"A": "1", "CASH": "0"}


def test_each_pot_is_capped_by_its_own_cash() -> None:
    """Rows in no order; 100 of B is sold for 500 x 0.9 = 450 of room (`rules §5.4`)."""
    sold = SELL | BOOKED | {"asset_id": "B", "units": "20", "reserved": "20"}
    plan = profiles(R=IN_A)
    found = traded(
        pots(("sells", "R"), ("cash", "R"), ("awaits", "R"), ("ordered", "R")),
        balances(
            ("sells", "B", "100"),
            ("cash", CURRENCY, "100"),
            ("ordered", "B", "100", "reserved"),
            ("awaits", CURRENCY, "100", "in_flight"),
            ("awaits", "B", "20", "reserved"),
            ("awaits", "B", "-20", "in_flight"),
        ),
        plan,
        sold | {"pot_id": "awaits", "consideration": "100"},
        SELL | TODAY | {"pot_id": "ordered", "asset_id": "B", "units": "100", "reserved": "100"},
    )
    assert found == {
        # 50 need 110.01 of 100: 50 x 100/110.01 = 45.45041...
        ("awaits", "A"): "45.4504",
        ("cash", "A"): "45.4504",
        # 250 need 550.01 of 450: 204.54173...
        ("ordered", "A"): "204.5417",
        ("sells", "A"): "204.5417",
        ("sells", "B"): "-100",
    }


def test_cash_of_two_sells_of_one_date_and_of_two_dates_counts_together() -> None:
    # 500 of B and 400 of C sold, less a tenth: 810; 450 A need 990.01: 450 x 810/990.01
    # = 368.17809...
    held = balances(("P1", "B", "100"), ("P1", "C", "40"))
    found = traded(pots(("P1", "R")), held, profiles(R=IN_A), on=market(C={"settlement_date": T}))
    assert found == {("P1", "A"): "368.178", ("P1", "B"): "-100", ("P1", "C"): "-40"}


def test_a_buy_cut_to_nothing_is_none() -> None:
    # 0.0001 A need money(0.00022) + 0.01 = 0.01 of 0.00: c is the value of what is due on Monday.
    sold = SELL | BOOKED | {"asset_id": "B", "units": "1", "reserved": "1"}
    found = rebalancing.rebalance(
        pots(("P1", "R")),
        balances(
            ("P1", CURRENCY, "5", "in_flight"),
            ("P1", "B", "1", "reserved"),
            ("P1", "B", "-1", "in_flight"),
        ),
        orders(
            {"order_id": "o", "pot_id": "P1"}
            | sold
            | {"consideration": "5", "settlement_date": MONDAY}
        ),
        profiles(R=IN_A),
        market(),
    )
    assert found.trades.is_empty()
    assert found.decisions.select("asset_id", "outcome").rows() == [("", "due"), ("A", "no_room")]
    assert found.decisions["trade_units"].to_list() == [None, 0]


def test_cash_of_zero_is_not_below_zero() -> None:
    """A sale below the minimum is dropped, and at c = -0.01 made."""
    held = [("P1", "A", "100"), ("P2", "A", "100"), ("P2", CURRENCY, "-0.01")]
    found = rebalancing.rebalance(
        pots(("P1", "R"), ("P2", "R")),
        balances(*held),
        orders(),
        profiles({"R": {"min_trade": "500"}}, R={"A": "0.5", "CASH": "0.5"}),
        market(),
    )
    # 100 of V = 200; 99.99 of 199.99, which is 49.9975 A.
    assert found.decisions.select("pot_id", "asset_id", "outcome", "delta_units").rows() == [
        ("P1", "", "due", None),
        ("P1", "A", "below_min_trade", -50),
        ("P2", "", "due", None),
        ("P2", "A", "trade", Decimal("-50.0025")),
    ]


def test_the_smallest_change_there_is_buys() -> None:
    # A millionth of A at 10 000.00 for a penny: it needs money(0.011) + 0.01 = 0.02.
    fine = market(A={"price": "10000", "unit_decimals": 6})
    plan = profiles(R=IN_A, S={"A": "0.5", "CASH": "0.5"})
    found = rebalancing.rebalance(
        pots(("P1", "R"), ("P2", "S")),
        balances(("P1", CURRENCY, "0.01"), ("P2", CURRENCY, "0.02")),
        orders(),
        plan,
        fine,
    )
    changes = found.decisions.filter(pl.col("asset_id") != "")
    assert changes.select("pot_id", "outcome", "delta_units").rows() == [
        ("P1", "no_room", Decimal("0.000001")),
        ("P2", "trade", Decimal("0.000001")),
    ]
    assert found.trades.select("pot_id", "side", "units").rows() == [
        ("P2", "B", Decimal("0.000001"))
    ]


def test_an_order_of_the_same_side_opposes_nothing() -> None:
    # All of A goes: the third party's sale of 10 of it is on the same side.
    sale = {"pot_id": "P1"} | ORDERS[0]
    held = balances(("P1", "A", "90"), ("P1", "A", "10", "reserved"))
    found = traded(pots(("P1", "R")), held, profiles(R={"CASH": "1"}), sale)
    assert found == {("P1", "A"): "-90"}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        # V = 100 of cash, 5 C and 3 to come at 10: 180. All of the 5 C at hand are sold.
        ({"A": "0.5", "CASH": "0.5"}, "-5"),
        # All into C: 18, of which 8 are there or to come; 10 need 110.01 of 100: 9.09008...
        ({"C": "1", "CASH": "0"}, "9.09"),
    ],
)
def test_a_switch_opposes_only_what_it_sells(weights: dict[str, str], expected: str) -> None:
    switch = {"pot_id": "P1"} | ORDERS[3]
    held = balances(("P1", "A", "15", "reserved"), ("P1", "C", "5"), ("P1", CURRENCY, "100"))
    found = traded(pots(("P1", "R")), held, profiles(R=weights), switch)
    assert found["P1", "C"] == expected


def test_only_pots_without_value_that_are_asked_for_cash_sell_all() -> None:
    asked = {"kind": "withdrawal", "asset_id": None, "state": "accepted"}
    found = traded(
        pots(("asked", "R"), ("broke", "R"), ("rich", "R")),
        balances(
            ("rich", "A", "50"),
            ("rich", "B", "0.0001"),
            ("broke", "A", "7"),
            ("broke", CURRENCY, "-90"),
            ("asked", "A", "7"),
            ("asked", "B", "3", "reserved"),
            ("asked", "C", "4"),
        ),
        profiles(R=IN_A),
        asked | {"pot_id": "asked", "amount": "900"},
        asked | {"pot_id": "rich", "amount": "1"},
        # Three B are reserved, not available.
        SELL | {"pot_id": "asked", "asset_id": "B", "units": "3", "reserved": "3"},
        on=market(C={"price": None}),
    )
    # V = 100 less 1, and nothing for B: 49.5 A. C without a price stops the pot that asked.
    assert found == {("rich", "A"): "-0.5", ("rich", "B"): "-0.0001"}
    sale = SELL | {"pot_id": "asked", "asset_id": "B", "units": "3", "reserved": "3"}
    found = rebalancing.rebalance(
        pots(("asked", "R"), ("broke", "R")),
        balances(
            ("broke", "A", "7"),
            ("broke", CURRENCY, "-90"),
            ("asked", "A", "7"),
            ("asked", "B", "3", "reserved"),
            ("asked", "C", "0.000001"),
        ),
        orders(
            {"order_id": "o1", "pot_id": "asked", "amount": "900"} | asked,
            {"order_id": "o2"} | sale,
        ),
        profiles(R=IN_A),
        market(),
    )
    assert found.decisions.select("pot_id", "asset_id", "outcome", "trade_units").rows() == [
        ("asked", "", "no_value", None),
        ("asked", "A", "trade", -7),
        ("asked", "C", "trade", Decimal("-0.000001")),
        ("broke", "", "no_value", None),
    ]


def test_what_has_no_price_is_not_sold_for_a_withdrawal() -> None:
    # Of C nothing is left once the 5 in flight have gone, so that it does not stop the pot.
    found = traded(
        pots(("P1", "R")),
        balances(("P1", "A", "7"), ("P1", "C", "5"), ("P1", "C", "-5", "in_flight")),
        profiles(R=IN_A),
        {
            "pot_id": "P1",
            "kind": "withdrawal",
            "asset_id": None,
            "state": "accepted",
            "amount": "900",
        },
        on=market(C=UNPRICED),
    )
    assert found == {("P1", "A"): "-7"}


@pytest.mark.parametrize(
    ("units", "fits"),
    [("420000000000", True), ("430000000000", False)],
)
@pytest.mark.parametrize("where", ["held", "ordered"])
@pytest.mark.parametrize("price", ["price", "last_price"])
def test_products_beyond_128_bits_are_refused(
    units: str, fits: bool, where: str, price: str
) -> None:
    """Units x price x 4 (the stress and one) in minor units: 4.2E17 x 1E12 x 4E8 = 1.68E38."""
    dear = market(A={"price": "0.01", "last_price": "0.01"}, C={price: "1000000"})
    plan = profiles({"R": {"schedule": "none"}}, R=IN_A)
    held = balances(("P1", "A", units if where == "held" else "1"))
    standing = [UNIT_BUY | {"pot_id": "P1", "asset_id": "A", "units": units}]
    standing = standing if where == "ordered" else []
    if fits:
        assert judged(pots(("P1", "R")), held, plan, *standing, on=dear) == {"P1": "self_select"}
    else:
        with pytest.raises(q.QuantityOverflowError, match="stressed cost"):
            judged(pots(("P1", "R")), held, plan, *standing, on=dear)


def test_what_is_proposed_comes_by_pot_as_given_then_by_asset() -> None:
    given = pots(("P2", "R"), ("P1", "R"), ("P3", "R"))
    held = balances(*[(p, a, u) for p in ("P1", "P2") for a, u in ((CURRENCY, "90"), ("C", "1"))])
    plan, forward = profiles(R=EVEN), market()
    for on in (forward, replace(forward, assets=forward.assets.reverse())):
        projection = rebalancing.project(held, orders(), on)
        due = rebalancing.find_due(given, projection, plan, on)
        found = rebalancing.propose(due, projection, plan, on)
        assert found.select("row", "pot_id", "asset_id").rows() == [
            (row, pot, asset) for row, pot in ((0, "P2"), (1, "P1")) for asset in "ABC"
        ]


MOST = 2**127 - 1


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize(
    ("what", "column", "most"),
    [
        # Value x weight (8 decimals) x 100; then more is refused at the next step.
        ("weight × value × units", "value", MOST // 10**10),
        # A at 1.00: V pence are V x 10^4 units x 10^6 of price x 4 x 10^8 of stress and one.
        ("stressed cost", "value", MOST // (4 * 10**18)),
        # V = 1000.00: 10^9 units x room in pence x 10^8.
        ("units × room", "settled", MOST // (10**9 * 10**8)),
    ],
)
def test_a_proposal_whose_products_leave_128_bits_is_refused(
    what: str, column: str, most: int, beyond: int
) -> None:
    plan, on = profiles(R=IN_A), market(A={"price": "1"})
    projection = rebalancing.project(balances(("P1", CURRENCY, "1000")), orders(), on)
    due = rebalancing.find_due(pots(("P1", "R")), projection, plan, on)
    due = due.with_columns(pl.lit(most + beyond, dtype=pl.Int128).alias(column))
    if beyond:
        with pytest.raises(q.QuantityOverflowError, match=what):
            rebalancing.propose(due, projection, plan, on)
    elif what.startswith("weight"):
        with pytest.raises(q.QuantityOverflowError, match="stressed cost"):
            rebalancing.propose(due, projection, plan, on)
    else:
        assert rebalancing.propose(due, projection, plan, on)["asset_id"].to_list() == ["A"]


@pytest.mark.parametrize(("held", "fits"), [(MOST // 10**12, True), (MOST // 10**12 + 1, False)])
def test_holdings_whose_worth_leaves_128_bits_are_refused(held: int, fits: bool) -> None:
    plan, on = profiles(R={"CASH": "1"}), market(A={"price": "1000000"})
    projection = rebalancing.project(balances(("P1", "A", "1")), orders(), on)
    due = rebalancing.find_due(pots(("P1", "R")), projection, plan, on)
    units = projection.positions.with_columns(pl.lit(held, dtype=pl.Int128).alias("units"))
    projection = replace(projection, positions=units)
    if fits:
        assert rebalancing.propose(due, projection, plan, on)["delta"].to_list() == [-held]
    else:
        with pytest.raises(q.QuantityOverflowError, match="units × price"):
            rebalancing.propose(due, projection, plan, on)


@pytest.mark.parametrize(
    ("cash", "fits"), [(MOST // (2 * 10**10), True), (MOST // (2 * 10**10) + 1, False)]
)
def test_a_value_whose_share_leaves_128_bits_is_refused(cash: int, fits: bool) -> None:
    plan, on = profiles(R={"CASH": "1"}), market()
    projection = rebalancing.project(balances(("P1", CURRENCY, "1")), orders(), on)
    held = projection.cash.with_columns(pl.lit(cash, dtype=pl.Int128).alias("cash"))
    projection = replace(projection, cash=held)
    if fits:
        found = rebalancing.find_due(pots(("P1", "R")), projection, plan, on)
        assert found.select("outcome", "value").rows() == [("not_due", cash)]
    else:
        with pytest.raises(q.QuantityOverflowError, match="weight × value"):
            rebalancing.find_due(pots(("P1", "R")), projection, plan, on)
