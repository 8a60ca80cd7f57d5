"""Re-balancing worked by hand: bands, drops, caps (`rules §5`)."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from domain_frames import CASH, CURRENCY, QUANTITY, RATIO, UNITS, P, T, frame, orders

from acme.domain import rebalancing

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
WEIGHT = {"risk_profile_id": pl.String, "asset_id": pl.String, "weight": RATIO}
PARAMETER = {
    "risk_profile_id": pl.String,
    "drift_band": RATIO,
    "cash_band": RATIO,
    "min_trade": CASH,
    "schedule": pl.String,
}
BALANCE = {
    "book": pl.String,
    "pot_id": pl.String,
    "state": pl.String,
    "asset_id": pl.String,
    "quantity": QUANTITY,
}
POT = {
    "book": pl.String,
    "pot_id": pl.String,
    "risk_profile_id": pl.String,
    "opened_on": pl.Date,
    "status": pl.String,
    "reprofiled": pl.Boolean,
}
THURSDAY, FRIDAY, MONDAY = date(2026, 3, 12), date(2026, 3, 13), date(2026, 3, 16)
BALANCED = {"A": "0.6", "B": "0.3", "CASH": "0.1"}


@dataclass
class Case:
    """One pot and its market. Prices: A 2.00 and B 5.00, settling on Friday; stress 0.1."""

    cash: str = "0"
    units: dict[str, str] = field(default_factory=dict)
    more: list[tuple[str, str, str]] = field(default_factory=list)
    orders: list[dict] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=lambda: dict(BALANCED))
    drift_band: str = "0.05"
    cash_band: str = "0.05"
    min_trade: str = "0"
    schedule: str = "drift"
    reprofiled: bool = False
    opened_on: date = P
    status: str = "open"
    assets: dict[str, dict] = field(default_factory=dict)

    def run(self) -> rebalancing.Result:
        base = {
            "book": "live",
            "unit_decimals": 4,
            "stress": "0.1",
            "settlement_date": FRIDAY,
            "suspended": False,
        }
        prices = {"A": "2", "B": "5", "C": "10"}
        assets = [
            base | {"asset_id": a, "price": p, "last_price": p} | self.assets.get(a, {})
            for a, p in prices.items()
        ]
        held = [
            (CURRENCY, "settled", self.cash),
            *((a, "settled", u) for a, u in self.units.items()),
        ]
        return rebalancing.rebalance(
            frame(
                POT,
                [
                    {
                        "book": "live",
                        "pot_id": "P1",
                        "risk_profile_id": "R",
                        "opened_on": self.opened_on,
                        "status": self.status,
                        "reprofiled": self.reprofiled,
                    }
                ],
            ),
            frame(
                BALANCE,
                [
                    {"book": "live", "pot_id": "P1", "asset_id": a, "state": s, "quantity": n}
                    for a, s, n in held + self.more
                    if Decimal(n)
                ],
            ),
            orders(*[{"order_id": f"o{n}"} | o for n, o in enumerate(self.orders)]),
            rebalancing.Profiles(
                frame(
                    WEIGHT,
                    [
                        {"risk_profile_id": "R", "asset_id": a, "weight": w}
                        for a, w in self.weights.items()
                    ],
                ),
                frame(
                    PARAMETER,
                    [
                        {
                            "risk_profile_id": "R",
                            "drift_band": self.drift_band,
                            "cash_band": self.cash_band,
                            "min_trade": self.min_trade,
                            "schedule": self.schedule,
                        }
                    ],
                ),
            ),
            rebalancing.Market(frame(ASSET, assets), CURRENCY, T, P),
        )

    def trades(self) -> dict[str, str]:
        rows = self.run().trades.select("asset_id", "side", "units").rows()
        return {a: f"{'-' if s == 'S' else ''}{u.normalize():f}" for a, s, u in rows}

    def outcomes(self) -> dict[str, str]:
        return dict(self.run().decisions.select("asset_id", "outcome").iter_rows())


def test_a_pot_on_target_does_nothing() -> None:
    # 300 A at 2 = 600, 60 B at 5 = 300, cash 100: V = 1000, exactly 60, 30 and 10 %.
    assert Case("100", {"A": "300", "B": "60"}).outcomes() == {"": "not_due"}


# One minor unit of A (0.0001 at 2.00) is 0.0002; the band is 5 % of V = 1000, so 50.00.
@pytest.mark.parametrize(
    ("a", "b", "cash", "due"),
    [
        ("325", "50", "100", False),  # A at 650 is off by exactly 50, as is B at 250
        ("325.0050", "49.9980", "100", True),  # A and B off by 50.01
        ("275", "70", "100", False),
        ("274.9950", "70.0020", "100", True),
        ("300", "50", "150", False),  # cash off by exactly 50
        ("300", "49.9980", "150.01", True),
        ("300", "70", "50", False),
        ("300", "70.0020", "49.99", True),
    ],
)
def test_bands_at_the_exact_edge(a: str, b: str, cash: str, due: bool) -> None:
    assert Case(cash, {"A": a, "B": b}).outcomes()[""] == ("due" if due else "not_due")


def test_the_cash_band_alone_makes_a_pot_due() -> None:
    # The drift band is wide; cash at 15.001 % is over 10 % +- 5 %.
    wide = {"drift_band": "1"}
    assert Case("150.01", {"A": "300", "B": "49.998"}, **wide).outcomes()[""] == "due"
    assert Case("150", {"A": "300", "B": "50"}, **wide).outcomes()[""] == "not_due"


def test_an_asset_of_the_profile_that_is_not_held_drifts_by_its_weight() -> None:
    # B has weight 0.05 and is not held: off by exactly the band of 0.05; then by more.
    on_edge = Case("100", {"A": "450"}, weights={"A": "0.85", "B": "0.05", "CASH": "0.1"})
    assert on_edge.outcomes()[""] == "not_due"
    beyond = Case(
        "100",
        {"A": "450"},
        drift_band="0.04999999",
        cash_band="1",
        weights={"A": "0.85", "B": "0.05", "CASH": "0.1"},
    )
    assert beyond.outcomes()[""] == "due"


def test_an_asset_outside_the_profile_has_weight_zero() -> None:
    # C: 5 at 10 = 50 of 1000, at the edge; then 6.
    assert Case("100", {"A": "300", "B": "50", "C": "5"}).outcomes()[""] == "not_due"
    assert Case("100", {"A": "300", "B": "48", "C": "6"}).trades()["C"] == "-6"


def test_targets_are_cut_and_the_trade_is_the_difference() -> None:
    # V = 1000 in cash, daily. A: 600/2 = 300; B: 300/5 = 60. Stressed: 660.01 + 330.01 = 990.02.
    assert Case("1000").trades() == {"A": "300", "B": "60"}
    # Price 3: 600/3 = 200; price 7: 300/7 = 42.857142..., cut to 42.8571.
    case = Case("1000", assets={"A": {"price": "3"}, "B": {"price": "7"}})
    assert case.trades() == {"A": "200", "B": "42.8571"}
    case = Case("1000", assets={"B": {"price": "7", "unit_decimals": 0}})
    assert case.trades() == {"A": "300", "B": "42"}


def test_schedule_daily_and_a_change_of_profile_make_a_pot_due() -> None:
    near = {"units": {"A": "301", "B": "60"}, "cash": "98"}
    assert Case(**near).trades() == {}
    # 60 % of V = 1000 is 300.
    assert Case(**near, schedule="daily").trades() == {"A": "-1"}
    assert Case(**near, reprofiled=True).trades() == {"A": "-1"}


def test_self_select_is_never_touched() -> None:
    assert Case("1000", schedule="none", reprofiled=True).outcomes() == {"": "self_select"}
    withdrawing = {"kind": "withdrawal", "asset_id": None, "amount": "5000", "state": "accepted"}
    case = Case("0", {"A": "10"}, schedule="none", orders=[withdrawing])
    assert case.outcomes() == {"": "self_select"}


def test_a_pot_is_open_from_its_first_date_on() -> None:
    assert Case("1000", opened_on=T).trades() == {"A": "300", "B": "60"}
    assert Case("1000", opened_on=THURSDAY).outcomes() == {}


@pytest.mark.parametrize("status", ["closing", "closed"])
def test_only_open_pots(status: str) -> None:
    assert Case("1000", status=status).outcomes() == {}


def test_an_unpriced_asset_skips_the_pot_where_it_is_held_or_targeted() -> None:
    unpriced = {"price": None}
    assert Case("1000", assets={"A": unpriced}).outcomes() == {"": "no_price"}
    assert Case("1000", {"C": "1"}, assets={"C": unpriced}).outcomes() == {"": "no_price"}
    assert Case("1000", assets={"C": unpriced}).outcomes()[""] == "due"
    # A weight of zero targets nothing.
    zero = {"A": "0.6", "B": "0.3", "C": "0", "CASH": "0.1"}
    assert Case("1000", weights=zero, assets={"C": unpriced}).outcomes()[""] == "due"
    # Held in flight alone, or still to be bought.
    assert Case("1000", more=[("C", "in_flight", "1")], assets={"C": unpriced}).outcomes() == {
        "": "no_price"
    }
    buy = {
        "kind": "buy",
        "side": "B",
        "quantity_type": "A",
        "amount": "5",
        "asset_id": "C",
        "reserved": "5",
    }
    assert Case("1000", orders=[buy], assets={"C": unpriced}).outcomes() == {"": "no_price"}


def test_min_trade_is_tested_on_the_worth_at_its_edge() -> None:
    # Off by one A, worth 2.00; daily.
    near = {"units": {"A": "301", "B": "60"}, "cash": "98", "schedule": "daily"}
    assert Case(**near, min_trade="2.00").trades() == {"A": "-1"}
    assert Case(**near, min_trade="2.01").outcomes() == {"": "due", "A": "below_min_trade"}


def test_sells_ignore_the_minimum_while_cash_is_below_zero() -> None:
    # A withdrawal of 110 against 100 of cash: c = -10, V = 890.
    # A: 534/2 = 267, sell 33 (66.00). B: 267/5 = 53.4, sell 6.6 (33.00).
    withdrawal = {
        "kind": "withdrawal",
        "asset_id": None,
        "amount": "110",
        "state": "accepted",
        "reserved": "100",
    }
    case = Case(
        "0",
        {"A": "300", "B": "60"},
        more=[(CURRENCY, "reserved", "100")],
        orders=[withdrawal],
        min_trade="500",
        drift_band="1",
        cash_band="1",
    )
    assert case.trades() == {"A": "-33", "B": "-6.6"}


def test_cash_below_zero_makes_a_pot_due_inside_its_bands() -> None:
    wide = {"drift_band": "1", "cash_band": "1", "weights": {"A": "1", "CASH": "0"}}
    assert Case("0", {"A": "300"}, **wide).outcomes() == {"": "not_due"}
    # c = -0.02: V = 599.98; A: 299.99, sell 0.01.
    assert Case("-0.02", {"A": "300"}, **wide).trades() == {"A": "-0.01"}


def test_buys_keep_the_minimum_while_cash_is_below_zero() -> None:
    # c = -10 of V = 890: A at 300 of 267; B at 60 of 59.3333 -> hold less A, buy B of worth 7.
    case = Case(
        "-10",
        {"A": "300", "B": "60"},
        weights={"A": "0.5", "B": "0.345", "CASH": "0.155"},
        min_trade="8",
    )
    # B: 0.345 x 890 = 307.05 / 5 = 61.41, so 1.41 worth 7.05 is below 8. A: 445/2 = 222.5.
    assert case.outcomes() == {"": "due", "A": "trade", "B": "below_min_trade"}
    assert case.trades() == {"A": "-77.5"}


def test_a_suspended_asset_is_not_traded() -> None:
    case = Case("1000", assets={"A": {"suspended": True}})
    assert case.outcomes() == {"": "due", "A": "asset_suspended", "B": "trade"}


SELL_A = {"kind": "sell", "side": "S", "quantity_type": "U", "units": "10", "reserved": "10"}


@pytest.mark.parametrize(
    ("order", "outcome"),
    [
        (SELL_A, "opposite_order"),
        (SELL_A | {"kind": "switch", "to_asset_id": "C"}, "opposite_order"),
        (SELL_A | {"source": "rebalancing"}, "trade"),
        (SELL_A | {"asset_id": "B"}, "trade"),
        (SELL_A | {"state": "unknown"}, "opposite_order"),
        (
            {"kind": "buy", "side": "B", "quantity_type": "A", "amount": "5", "reserved": "5"},
            "trade",
        ),
    ],
)
def test_no_buy_against_a_third_party_s_sale(order: dict, outcome: str) -> None:
    reserve = [("A" if order["side"] == "S" else CURRENCY, "reserved", order["reserved"])]
    case = Case("1000", orders=[order], more=reserve)
    assert case.outcomes()["A"] == outcome


def test_no_sale_against_a_third_party_s_buy() -> None:
    buy = {"kind": "buy", "side": "B", "quantity_type": "A", "amount": "5", "reserved": "5"}
    held = {"units": {"A": "500"}, "more": [(CURRENCY, "reserved", "5")]}
    assert Case(orders=[buy], **held).outcomes()["A"] == "opposite_order"
    assert Case(orders=[buy | {"source": "switch"}], **held).outcomes()["A"] == "trade"
    assert Case(orders=[buy | {"asset_id": "B"}], **held).outcomes()["A"] == "trade"


def test_a_booked_order_opposes_nothing() -> None:
    sold = SELL_A | {"state": "executed", "consideration": "20", "settlement_date": FRIDAY}
    flying = [("A", "reserved", "10"), ("A", "in_flight", "-10"), (CURRENCY, "in_flight", "20")]
    assert Case("1000", orders=[sold], more=flying).outcomes()["A"] == "trade"


def test_a_sale_is_cut_to_available_units() -> None:
    # 500 A, of which 480 are reserved for a sale of ours that is already placed; u = 20.
    # Its proceeds count in c: V = 960 + 40 = 1000, so A should be bought, not sold.
    case = Case(
        "0",
        {"A": "20"},
        more=[("A", "reserved", "480")],
        orders=[SELL_A | {"source": "rebalancing", "units": "480", "reserved": "480"}],
    )
    assert case.run().decisions.filter(pl.col("asset_id") == "A")["delta_units"].to_list() == [
        Decimal(280)
    ]
    # In flight from a buy, not settled: 400 counted, 30 available. V = 800: 480/2 = 240, sell 160.
    bought = {
        "source": "rebalancing",
        "kind": "buy",
        "side": "B",
        "quantity_type": "U",
        "units": "370",
        "state": "executed",
        "consideration": "740",
        "settlement_date": FRIDAY,
    }
    case = Case(
        "740",
        {"A": "30"},
        orders=[bought],
        more=[("A", "in_flight", "370"), (CURRENCY, "in_flight", "-740")],
    )
    assert case.trades()["A"] == "-30"
    case.units = {}
    case.more[0] = ("A", "in_flight", "400")
    assert case.outcomes()["A"] == "nothing_available"
    assert "A" not in case.trades()


def test_buys_are_capped_by_what_one_bad_day_leaves() -> None:
    # V = 100 cash, all into A at 2.00 with stress 0.1: 50 units.
    # need = money(50 x 2 x 1.1) + 0.01 = 110.01 > room = 100.
    # 50 x 100 / 110.01 = 45.4504136..., cut to 45.4504.
    case = Case("100", weights={"A": "1", "CASH": "0"})
    assert case.trades() == {"A": "45.4504"}
    # A room of exactly the need is no cap: 110.01 of cash of which 91.66/110.01 go to A.
    exact = Case("110.01", weights={"A": "0.91", "CASH": "0.09"})
    # 0.91 x 110.01 = 100.1091 / 2 = 50.0545: need money(110.1199) + 0.01 = 110.13 > 110.01.
    # 50.0545 x 110.01 / 110.13 = 49.99995..., cut to 49.9999.
    assert exact.trades() == {"A": "49.9999"}


def test_a_need_equal_to_the_room_is_not_capped() -> None:
    # 50 A need 110.01. Settled 100 and 10.01 due from a booked sale: room 110.01, V = 110.01.
    # Weight 0.909008272 of V is 100.00 -> with 8 decimals 0.90900828: 100.0000009/2 = 50.0000.
    sold = SELL_A | {
        "source": "rebalancing",
        "asset_id": "B",
        "units": "2",
        "reserved": "2",
        "state": "executed",
        "consideration": "10.01",
        "settlement_date": FRIDAY,
    }
    flying = [("B", "reserved", "2"), ("B", "in_flight", "-2"), (CURRENCY, "in_flight", "10.01")]
    case = Case(
        "100", orders=[sold], more=flying, weights={"A": "0.90900828", "CASH": "0.09099172"}
    )
    assert case.trades() == {"A": "50"}
    # A day late, or promised for P and overdue, it does not count: 50 x 100/110.01.
    for settles in (MONDAY, P):
        case.orders = [sold | {"settlement_date": settles}]
        assert case.trades() == {"A": "45.4504"}
    # On T it does.
    case.orders = [sold | {"settlement_date": T}]
    assert case.trades() == {"A": "50"}


def test_several_buys_are_cut_alike() -> None:
    # V = 1000 cash, A 0.7 and B 0.3: 350 and 60 units; need 770.01 + 330.01 = 1100.02; room 1000.
    # 350 x 1000/1100.02 = 318.17603..., 60 x 1000/1100.02 = 54.54446...
    assert Case("1000", weights={"A": "0.7", "B": "0.3", "CASH": "0"}).trades() == {
        "A": "318.176",
        "B": "54.5444",
    }


def test_a_capped_buy_below_the_minimum_is_dropped() -> None:
    # B, cut to 54.5444, is worth 272.72 (272.7220).
    weights = {"A": "0.7", "B": "0.3", "CASH": "0"}
    assert "B" in Case("1000", weights=weights, min_trade="272.72").trades()
    case = Case("1000", weights=weights, min_trade="272.73")
    assert case.outcomes() == {"": "due", "A": "trade", "B": "no_room"}
    # What was dropped is not given to A.
    assert case.trades() == {"A": "318.176"}


def test_this_run_s_sells_count_less_their_stress() -> None:
    # All B (200 at 5 = 1000) into A: sell 200; room = 1000 x 0.9 = 900; 500 A need 1100.01.
    # 500 x 900/1100.01 = 409.08719...
    case = Case("0", {"B": "200"}, weights={"A": "1", "CASH": "0"})
    assert case.trades() == {"A": "409.0871", "B": "-200"}
    # Settling a day after the buy it does not count at all.
    case.assets = {"B": {"settlement_date": MONDAY}}
    assert case.outcomes()["A"] == "no_room"
    assert case.trades() == {"B": "-200"}


def test_the_earliest_settlement_of_the_buys_counts_for_all() -> None:
    # C settles on Thursday, A on Friday. The sale of B, on Friday, is too late for both.
    case = Case(
        "0",
        {"B": "200"},
        weights={"A": "0.5", "C": "0.5", "CASH": "0"},
        assets={"C": {"settlement_date": THURSDAY}},
    )
    assert case.trades() == {"B": "-200"}
    # A suspended C is no buy, so Friday counts: A 250 need 550.01 of 900.
    case.assets["C"]["suspended"] = True
    assert case.trades() == {"A": "250", "B": "-200"}


def test_third_party_sells_of_the_run_count_and_switch_sales_do_not() -> None:
    # 100 B reserved for a third party's sale of T: 500 x 0.9 = 450 of room; V = 500 in c.
    # A: 250 units need 550.01; 250 x 450/550.01 = 204.54173...
    sale = SELL_A | {
        "asset_id": "B",
        "units": "100",
        "reserved": "100",
        "state": "accepted",
        "dealing_date": T,
    }
    case = Case(
        "0", orders=[sale], more=[("B", "reserved", "100")], weights={"A": "1", "CASH": "0"}
    )
    assert case.trades() == {"A": "204.5417"}
    # Placed on an earlier date its price is unknown and its cash not counted.
    case.orders = [sale | {"state": "placed", "dealing_date": P}]
    assert case.trades() == {}
    # A switch's proceeds are spoken for: V is the 50 C to come, c = 0.
    case.orders = [sale | {"kind": "switch", "to_asset_id": "C"}]
    assert case.outcomes()["A"] == "no_room"


def unit_buy(units: str, **more: str) -> dict:
    return {
        "source": "rebalancing",
        "kind": "buy",
        "side": "B",
        "quantity_type": "U",
        "units": units,
        "asset_id": "B",
    } | more


def test_what_is_promised_leaves_the_room() -> None:
    # 1000 of cash; all into A. Each promise makes c and the room smaller.
    into_a = {"weights": {"A": "1", "CASH": "0"}, "drift_band": "0", "cash_band": "0"}

    def room_left(order: dict, *more: tuple[str, str, str], **assets: dict) -> str | None:
        return (
            Case("1000", orders=[order], more=list(more), assets=assets, **into_a).trades().get("A")
        )

    # A placed buy of 20 B: stressed 110.01, so room 889.99. V = 1000: 500 A need 1100.01.
    # 500 x 889.99/1100.01 = 404.53723...
    assert room_left(unit_buy("20")) == "404.5372"
    # Booked at 90.00, reserving nothing: room 910; V = 1000 - 90 + 100 = 1010: 505 A need 1111.01.
    # 505 x 910/1111.01 = 413.63264...
    booked = unit_buy("20", state="executed", consideration="90")
    assert room_left(booked, ("B", "in_flight", "20"), (CURRENCY, "in_flight", "-90")) == "413.6326"
    # A waiting switch buy of 100 that reserves nothing: room 900, V = 1000 (20 B counted).
    waiting = {
        "source": "switch",
        "kind": "buy",
        "side": "B",
        "quantity_type": "A",
        "amount": "100",
        "asset_id": "B",
        "state": "received",
        "settlement_date": FRIDAY,
    }
    assert room_left(waiting) == "409.0871"
    # Made and reserved it takes nothing more from what is settled; V = 1100: 550 A need 1210.01.
    # 550 x 1000/1210.01 = 454.54169...
    made = waiting | {"state": "accepted", "reserved": "100"}
    assert room_left(made, (CURRENCY, "reserved", "100")) == "454.5416"
    # A withdrawal of 300 with 100 reserved: room 1000 - 200; V = 1100 - 300 = 800: 400 need 880.01.
    # 400 x 800/880.01 = 363.63223...
    withdrawal = {
        "kind": "withdrawal",
        "asset_id": None,
        "amount": "300",
        "reserved": "100",
        "state": "accepted",
    }
    assert room_left(withdrawal, (CURRENCY, "reserved", "100")) == "363.6322"


def test_a_pot_without_value_sells_for_its_withdrawal_alone() -> None:
    withdrawal = {"kind": "withdrawal", "asset_id": None, "amount": "900", "state": "accepted"}
    held = {"A": "300", "B": "60", "C": "0.5"}
    # V = 600 + 300 + 5 - 905 = 0.
    exact = withdrawal | {"amount": "905"}
    case = Case("0", held, orders=[exact], min_trade="9999")
    assert case.trades() == {"A": "-300", "B": "-60", "C": "-0.5"}
    assert case.outcomes()[""] == "no_value"
    # A suspended asset stays.
    case.assets = {"B": {"suspended": True}}
    assert case.trades() == {"A": "-300", "C": "-0.5"}
    # A penny of value: re-balanced as any pot, c < 0.
    case = Case("0.01", held, orders=[exact])
    assert case.outcomes()[""] == "due"
    # No withdrawal, no sale.
    assert Case("-905", held).outcomes() == {"": "no_value"}
    assert Case("0").outcomes() == {"": "no_value"}


def test_cash_in_flight_counts_in_c_and_not_in_the_room() -> None:
    # 1000 to come on Monday from a booked sale; A settles on Friday: nothing to pay with.
    sold = SELL_A | {
        "source": "rebalancing",
        "asset_id": "B",
        "units": "200",
        "reserved": "200",
        "state": "executed",
        "consideration": "1000",
        "settlement_date": MONDAY,
    }
    flying = [("B", "reserved", "200"), ("B", "in_flight", "-200"), (CURRENCY, "in_flight", "1000")]
    case = Case("0", orders=[sold], more=flying, weights={"A": "1", "CASH": "0"})
    assert case.outcomes() == {"": "due", "A": "no_room"}
    case.assets = {"A": {"settlement_date": MONDAY}}
    # room 1000; 500 need 1100.01: 454.5413...
    assert case.trades() == {"A": "454.5413"}


def test_unbooked_amount_buys_and_switches_are_projected() -> None:
    # An amount buy of 100.00 of C at 3: cut to 33.3333 units worth 100.00 (99.9999); c less 100.
    # A switch of 10 B (50.00) to C: 16.6666 more. u = 49.9999 of C, all outside the profile.
    buy = {
        "kind": "buy",
        "side": "B",
        "quantity_type": "A",
        "amount": "100",
        "reserved": "100",
        "asset_id": "C",
    }
    switch = SELL_A | {"kind": "switch", "asset_id": "B", "to_asset_id": "C"}
    case = Case(
        "0",
        {"B": "30"},
        orders=[buy, switch],
        more=[(CURRENCY, "reserved", "100"), ("B", "reserved", "10")],
        schedule="daily",
        weights={"B": "1", "CASH": "0"},
        assets={"C": {"price": "3"}},
    )
    decisions = case.run().decisions
    # V = 150 (30 B) + money(49.9999 x 3 = 149.9997) = 150.00; c = 0.
    assert decisions["value"].to_list()[0] == Decimal("300.00")
    # The sale of C is against the third party's buy; B has 10 units of a sale against it.
    assert dict(decisions.select("asset_id", "outcome").iter_rows()) == {
        "": "due",
        "B": "opposite_order",
        "C": "opposite_order",
    }
    assert decisions["delta_units"].to_list() == [None, Decimal(30), Decimal("-49.9999")]


def test_a_profile_whose_weights_are_not_valid_yet_sells_nothing() -> None:
    """Parameters valid on T without weights are no profile: the pot must not go to cash."""
    case = Case("0", {"A": "100"}, weights={})
    assert case.trades() == {}


def test_the_rule_leaves_a_penny_within_stress() -> None:
    """`rules §5.4` takes the rounded worth of a sale less its stress, unrounded, as its cash.

    A: 18.0264 at 4.76 is 85.81 (85.805664), so room 68.648; at the worst price, 3.808, it brings
    money(68.6445...) = 68.64. B: 6.9006 at 8.29 x 1.2 = 9.948 costs money(68.6471...) = 68.65.
    """
    case = Case(
        "0",
        {"A": "18.0264", "C": "20000"},
        weights={"B": "1", "CASH": "0"},
        assets={
            "A": {"price": "4.76", "stress": "0.2"},
            "B": {"price": "8.29", "stress": "0.2"},
            "C": {"price": "1", "settlement_date": MONDAY},
        },
    )
    assert case.trades() == {"A": "-18.0264", "B": "6.9006", "C": "-20000"}


def test_the_rule_leaves_a_penny_among_several_buys() -> None:
    """Each stressed cost holds a penny of its own, but the cap scales it down with the units.

    126.16 settled and 9900 to come on Monday; stress 0.2. A 0.6105 x 8.61 x 1.2 = 6.307686, B
    1.3856 x 12.14 x 1.2 = 20.1854208, C 8.2151 x 10.11 x 1.2 = 99.6655932: together 126.1587, but
    rounded 6.31 + 20.19 + 99.67 = 126.17 (see test_domain_overdrafts).
    """
    sold = SELL_A | {
        "source": "rebalancing",
        "asset_id": "B",
        "state": "executed",
        "units": "5",
        "reserved": "5",
        "consideration": "9900",
        "settlement_date": MONDAY,
    }
    flying = [("B", "reserved", "5"), ("B", "in_flight", "-5"), (CURRENCY, "in_flight", "9900")]
    prices = {"A": "8.61", "B": "12.14", "C": "10.11"}
    case = Case(
        "126.16",
        orders=[sold],
        more=flying,
        min_trade="0",
        weights={"A": "0.05", "B": "0.16", "C": "0.79", "CASH": "0"},
        assets={a: {"price": p, "last_price": p, "stress": "0.2"} for a, p in prices.items()},
    )
    assert case.trades() == {"A": "0.6105", "B": "1.3856", "C": "8.2151"}


def test_trades_and_decisions_are_sorted() -> None:
    result = Case("1000", {"C": "10"}, weights={"B": "0.3", "A": "0.6", "CASH": "0.1"}).run()
    assert result.trades["asset_id"].to_list() == ["A", "B", "C"]
    assert result.decisions["asset_id"].to_list() == ["", "A", "B", "C"]
