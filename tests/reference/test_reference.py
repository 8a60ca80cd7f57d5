"""The model alone, on days worked out by hand."""

from datetime import date, timedelta
from fractions import Fraction

import pytest

from tests.reference.model import Day, Reference
from tests.reference.numbers import money, split, tie_hash, trunc
from tests.reference.orders import order_id_of

F = Fraction
MONDAY = date(2026, 1, 5)
DAYS = [MONDAY + timedelta(days=n) for n in (0, 1, 2, 3, 4, 7, 8, 9, 10, 11)]
FRIDAY = date(2026, 1, 2)


class Scheme:
    """A small scheme: assets AAA (2 days to settle) and BBB (1 day) at custodian C1, cash at C0."""

    def __init__(self, *, schedule="none", weights=None, pots=("p",), stress="0.1", min_trade="0"):
        self.reference = Reference()
        self.count = 0
        self.land("assets", [self.asset("USD", "C0", 2, 0, "0")])
        self.land("assets", [self.asset("AAA", "C1", 4, 2, stress)])
        self.land("assets", [self.asset("BBB", "C1", 4, 1, stress)])
        weights = weights or {"CASH": "1"}
        self.land(
            "risk_profiles",
            [
                {"risk_profile_id": "r", "asset_id": a, "weight": w, "valid_from": "2020-01-01"}
                for a, w in weights.items()
            ],
        )
        self.land(
            "risk_profile_parameters",
            [
                {
                    "risk_profile_id": "r",
                    "drift_band": "0.05",
                    "cash_band": "0.05",
                    "min_trade": min_trade,
                    "schedule": schedule,
                    "valid_from": "2020-01-01",
                }
            ],
        )
        self.land(
            "pots",
            [
                {
                    "pot_id": pot,
                    "member_ref": f"m-{pot}",
                    "risk_profile_id": "r",
                    "book": "live",
                    "opened_on": "2020-01-01",
                }
                for pot in pots
            ],
        )
        self.prices(FRIDAY, AAA="10", BBB="20")

    @staticmethod
    def asset(asset, custodian, decimals, days, stress):
        return {
            "asset_id": asset,
            "currency": "USD",
            "custodian_id": custodian,
            "calendar_id": "DEALING",
            "unit_decimals": str(decimals),
            "settlement_days": str(days),
            "stress": stress,
            "valid_from": "2020-01-01",
        }

    def land(self, feed, rows):
        assert self.reference.land(feed, rows)

    def prices(self, day, **prices):
        self.land(
            "closing_prices",
            [
                {
                    "price_date": str(day),
                    "asset_id": asset,
                    "currency": "USD",
                    "closing_price": price,
                }
                for asset, price in prices.items()
            ],
        )

    def opening(self, pot="p", **units):
        self.land(
            "opening_positions",
            [
                {"as_of": str(FRIDAY), "pot_id": pot, "asset_id": asset, "units": quantity}
                for asset, quantity in units.items()
            ],
        )

    def order(self, day, kind, pot="p", **fields):
        self.count += 1
        row = {
            "source": "t",
            "source_ref": str(self.count),
            "received_at": f"{day}T08:00:{self.count:02}Z",
            "pot_id": pot,
            "kind": kind,
            **fields,
        }
        self.land("orders", [row])
        return order_id_of("t", str(self.count))

    def confirm(self, name, instruction, event, day, **fields):
        row = {
            "confirmation_id": name,
            "instruction_id": instruction,
            "event": event,
            "event_date": str(day),
            **fields,
        }
        self.land("confirmations", [row])

    def statement(self, day, custodian, basis="settled", name="s", **holdings):
        self.land(
            "statements",
            [
                {
                    "statement_id": f"{name}-{custodian}-{day}-{basis}",
                    "custodian_id": custodian,
                    "statement_date": str(day),
                    "basis": basis,
                    "page": "1",
                    "pages": "1",
                    "asset_id": asset,
                    "units": units,
                }
                for asset, units in holdings.items()
            ],
        )

    def day(self, run_date) -> Day:
        result = self.reference.day(run_date)
        assert result.violations == []
        return result


def instruction(day, asset, side, quantity_type):
    return f"B-{day}-live-C1-{asset}-{side}-{quantity_type}"


def pot_of(day, pot="p"):
    return {key[2:]: quantity for key, quantity in day.balances.items() if key[1] == f"pot/{pot}"}


def test_numbers():
    # Half to even: 0.125 -> 0.12, 0.135 -> 0.14; a quotient is cut, not rounded, also below zero.
    assert (money(F(125, 1000)), money(F(135, 1000))) == (F(12, 100), F(14, 100))
    assert (trunc(F(2, 3), 2), trunc(F(-2, 3), 2)) == (F(66, 100), F(-66, 100))


def test_largest_remainder_with_ties():
    # 1.00 over three equal weights: 33.3 pennies each, floor 33, one penny left; all remainders
    # are 1/3, so the lowest hash has it.
    orders = ["a", "b", "c"]
    parts = split(F(1), dict.fromkeys(orders, F(1)), F(1, 100), lambda o: tie_hash("B", o))
    lucky = min(orders, key=lambda order: tie_hash("B", order))
    assert parts == {o: F(34 if o == lucky else 33, 100) for o in orders}


def test_a_buy_over_its_life():
    s = Scheme()
    s.opening(USD="1000")
    order = s.order(DAYS[0], "buy", asset_id="AAA", amount="500")
    first = s.day(DAYS[0])
    name = instruction(DAYS[0], "AAA", "B", "A")
    assert first.instructions == {name: (None, F(500))}
    assert first.orders[order] == ("placed", "")
    # The custodian spends 498 on 49.8 units at 10; the other 2 are cancelled.
    s.confirm("e", name, "executed", DAYS[0], units="49.8", price="10", consideration="498")
    s.prices(DAYS[0], AAA="10", BBB="20")
    second = s.day(DAYS[1])
    assert second.orders[order] == ("placed", "")  # 498 of 500: not complete
    assert pot_of(second) == {("settled", "USD"): F(500), ("reserved", "USD"): F(500)}
    s.confirm("c", name, "cancelled", DAYS[1])
    third = s.day(DAYS[2])
    assert third.orders[order] == ("part_executed", "")
    assert third.allocations[order] == (F(498, 10), F(498))
    assert pot_of(third) == {
        ("settled", "USD"): F(502),
        ("reserved", "USD"): F(498),
        ("in_flight", "USD"): F(-498),
        ("in_flight", "AAA"): F(498, 10),
    }
    s.confirm("s", name, "settled", DAYS[2], units="49.8", consideration="498")
    fourth = s.day(DAYS[3])
    assert fourth.orders[order] == ("settled", "")
    assert pot_of(fourth) == {("settled", "USD"): F(502), ("settled", "AAA"): F(498, 10)}
    assert fourth.balances["live", "custodian/C1", "settled", "AAA"] == F(-498, 10)
    assert fourth.balances["live", "custodian/C0", "settled", "USD"] == F(-502)


def test_the_net_alone_leaves():
    # p sells 100 AAA and q buys some of them: only the difference is instructed.
    s = Scheme(pots=("p", "q"), schedule="daily", weights={"AAA": "0.5", "BBB": "0.5"}, stress="0")
    s.opening("p", AAA="200")
    s.opening("q", BBB="100")
    # V = 2000 each; p: AAA 100, BBB 50; q: AAA 100, BBB 50. AAA settles a day after BBB.
    first = s.day(DAYS[0])
    # p: sells 100 AAA; its buy of 50 BBB settles first, with nothing known by then: dropped.
    # q: sells 50 BBB for 1000 (no stress), buys AAA: need = 1000.01, so 100·1000/1000.01.
    bought = trunc(F(100) * 1000 / F("1000.01"), 4)
    assert first.trades == {
        ("p", "AAA"): ("S", F(100)),
        ("q", "BBB"): ("S", F(50)),
        ("q", "AAA"): ("B", bought),
    }
    assert first.instructions[instruction(DAYS[0], "AAA", "S", "U")] == (100 - bought, None)


def test_a_cross_with_net_zero():
    # p sells 10 by order of a third party; q buys 10 by re-balancing: 110 in cash at 0.5 each.
    s = Scheme(pots=("p",), stress="0")
    s.land(
        "risk_profiles",
        [
            {"risk_profile_id": "b", "asset_id": a, "weight": w, "valid_from": "2020-01-01"}
            for a, w in {"AAA": "0.5", "CASH": "0.5"}.items()
        ],
    )
    s.land(
        "risk_profile_parameters",
        [
            {
                "risk_profile_id": "b",
                "drift_band": "0",
                "cash_band": "0",
                "min_trade": "0",
                "schedule": "drift",
                "valid_from": "2020-01-01",
            }
        ],
    )
    s.land(
        "pots",
        [
            {
                "pot_id": "q",
                "member_ref": "m",
                "risk_profile_id": "b",
                "book": "live",
                "opened_on": "2020-01-01",
            }
        ],
    )
    s.opening("p", AAA="10")
    s.opening("q", USD="200")
    sale = s.order(DAYS[0], "sell", asset_id="AAA")
    first = s.day(DAYS[0])
    buy = order_id_of("rebalancing", f"live:q:AAA:{DAYS[0]}")
    assert first.trades == {("q", "AAA"): ("B", F(10))}
    assert first.instructions == {}
    assert s.day(DAYS[1]).allocations == {}  # no closing price of Monday yet
    s.prices(DAYS[0], AAA="10.555")
    third = s.day(DAYS[2])
    # CX = money(10 · 10.555) = 105.55; both sides have it. AAA settles on Wednesday.
    assert third.allocations == {sale: (F(10), F("105.55")), buy: (F(10), F("105.55"))}
    fourth = s.day(DAYS[3])
    assert fourth.orders[sale] == fourth.orders[buy] == ("settled", "")
    assert pot_of(fourth, "q") == {("settled", "USD"): F("94.45"), ("settled", "AAA"): F(10)}
    assert ("live", "custodian/C1", "settled", "AAA") in fourth.balances


def test_a_stressed_cap():
    # 1000 cash, all to AAA at 10: t = 100, stressed cost money(100·10·1.1)+0.01 = 1100.01;
    # room 1000: 100·1000/1100.01 = 90.9082… units.
    s = Scheme(schedule="drift", weights={"AAA": "1"})
    s.opening(USD="1000")
    assert s.day(DAYS[0]).trades == {("p", "AAA"): ("B", F("90.9082"))}


def test_min_trade_drops_small_trades():
    # Δ = 100 AAA = 1000.00 < 1000.01: dropped before any cap.
    s = Scheme(schedule="daily", weights={"AAA": "1"}, min_trade="1000.01")
    s.opening(USD="1000")
    assert s.day(DAYS[0]).trades == {}


def test_a_switch():
    # 10 AAA become BBB. The sale of Monday settles on Wednesday; BBB settles in one day, so its
    # buy is made on Tuesday already, when the sale is booked; it reserves nothing.
    s = Scheme()
    s.opening(AAA="10")
    sale = s.order(DAYS[0], "switch", asset_id="AAA", to_asset_id="BBB")
    first = s.day(DAYS[0])
    name = instruction(DAYS[0], "AAA", "S", "U")
    assert first.instructions == {name: (F(10), None)}
    s.confirm("e", name, "executed", DAYS[0], units="10", price="11", consideration="110")
    s.prices(DAYS[0], AAA="11", BBB="20")
    second = s.day(DAYS[1])
    buy = order_id_of("switch", sale)
    assert second.orders[sale] == ("executed", "")
    assert second.orders[buy] == ("placed", "")
    buying = instruction(DAYS[1], "BBB", "B", "A")
    assert second.instructions == {buying: (None, F(110))}
    s.confirm("b", buying, "executed", DAYS[1], units="5.5", price="20", consideration="110")
    s.confirm("f", buying, "settled", DAYS[2], units="5.5", consideration="110")
    s.confirm("g", name, "settled", DAYS[2], units="10", consideration="110")
    s.prices(DAYS[1], AAA="11", BBB="20")
    s.day(DAYS[2])
    assert pot_of(s.day(DAYS[3])) == {("settled", "BBB"): F("5.5")}


def test_a_withdrawal_waits_for_cash():
    # 100 of 150 are reserved at once; a contribution of 80 brings the rest on the next run.
    s = Scheme()
    s.opening(USD="100", AAA="1")
    order = s.order(DAYS[0], "withdrawal", amount="150")
    first = s.day(DAYS[0])
    assert first.orders[order] == ("accepted", "")
    gift = s.order(DAYS[1], "contribution", amount="80")
    second = s.day(DAYS[1])
    assert second.cash == {gift: ("IN", F(80))}
    assert pot_of(second) == {("reserved", "USD"): F(100), ("settled", "AAA"): F(1)}
    third = s.day(DAYS[2])
    assert third.cash == {order: ("OUT", F(150))}
    assert third.orders[order] == ("settled", "")
    assert pot_of(s.day(DAYS[3])) == {("settled", "USD"): F(30), ("settled", "AAA"): F(1)}


def test_short_paid():
    # No units and nothing under way: of 150 and 20 the first has 100 reserved, the second none.
    s = Scheme()
    s.opening(USD="100")
    first = s.order(DAYS[0], "withdrawal", amount="150")
    second = s.order(DAYS[0], "withdrawal", amount="20")
    s.day(DAYS[0])
    day = s.day(DAYS[1])
    assert day.orders[first] == ("settled", "short_paid")
    assert day.orders[second] == ("rejected", "insufficient_cash")
    assert day.cash == {first: ("OUT", F(100))}


def test_a_closing_pot():
    # All: 5 AAA are sold on Monday; what they bring and the 10 in cash leave when it has settled.
    s = Scheme()
    s.opening(USD="10", AAA="5")
    order = s.order(DAYS[0], "withdrawal")
    first = s.day(DAYS[0])
    name = instruction(DAYS[0], "AAA", "S", "U")
    assert first.instructions == {name: (F(5), None)}
    assert first.trades == {}
    late = s.order(DAYS[1], "buy", asset_id="AAA", amount="1")
    s.confirm("e", name, "executed", DAYS[0], units="5", price="10", consideration="50")
    s.confirm("s", name, "settled", DAYS[1], units="5", consideration="50")
    s.prices(DAYS[0], AAA="10", BBB="20")
    second = s.day(DAYS[1])
    assert second.orders[late] == ("rejected", "closed_pot")
    assert second.orders[order] == ("accepted", "")
    s.prices(DAYS[1], AAA="10", BBB="20")
    third = s.day(DAYS[2])
    assert third.cash == {order: ("OUT", F(60))}
    assert third.orders[order] == ("settled", "")
    assert s.day(DAYS[3]).balances == {}


def sold_and_settled():
    """4 of 10 AAA sold on Monday for 40, settled on Wednesday."""
    s = Scheme()
    s.opening(AAA="10")
    sale = s.order(DAYS[0], "sell", asset_id="AAA", units="4")
    s.day(DAYS[0])
    name = instruction(DAYS[0], "AAA", "S", "U")
    s.confirm("e", name, "executed", DAYS[0], units="4", price="10", consideration="40")
    s.confirm("s", name, "settled", DAYS[2], units="4", consideration="40")
    s.prices(DAYS[0], AAA="10", BBB="20")
    s.day(DAYS[1])
    s.prices(DAYS[1], AAA="10", BBB="20")
    s.day(DAYS[2])
    s.prices(DAYS[2], AAA="10", BBB="20")
    return s, sale, name


def test_a_correction_of_what_had_settled():
    s, sale, name = sold_and_settled()
    day = s.day(DAYS[3])
    assert pot_of(day) == {("settled", "AAA"): F(6), ("settled", "USD"): F(40)}
    # It was 39.00, not 40.00: settled again in the same run, the pot has 39.
    s.confirm(
        "e2", name, "executed", DAYS[0], units="4", price="9.75", consideration="39", amends="e"
    )
    day = s.day(DAYS[4])
    assert day.allocations[sale] == (F(4), F(39))
    assert day.orders[sale] == ("settled", "")
    assert pot_of(day) == {("settled", "AAA"): F(6), ("settled", "USD"): F(39)}
    assert ("live", "C1", "AAA", "price") in day.breaks


def test_a_correction_into_suspense():
    # A buy of 4 AAA settles, all 4 are sold again; then it turns out to have been 3 for the money.
    s = Scheme()
    s.opening(USD="40")
    s.order(DAYS[0], "buy", asset_id="AAA", amount="40")
    s.day(DAYS[0])
    name = instruction(DAYS[0], "AAA", "B", "A")
    s.confirm("e", name, "executed", DAYS[0], units="4", price="10", consideration="40")
    s.confirm("s", name, "settled", DAYS[0], units="4", consideration="40")
    s.order(DAYS[1], "sell", asset_id="AAA")
    s.prices(DAYS[0], AAA="10", BBB="20")
    assert pot_of(s.day(DAYS[1])) == {("settled", "AAA"): F(4)}
    s.confirm(
        "e2", name, "executed", DAYS[0], units="3", price="10", consideration="40", amends="e"
    )
    day = s.day(DAYS[2])
    # Settled −1 goes to suspense; the 4 stay reserved for the sale; the break names C1 and AAA.
    assert pot_of(day) == {("reserved", "AAA"): F(4)}
    assert day.balances["live", "suspense/correction", "settled", "AAA"] == F(-1)
    assert day.breaks["live", "C1", "AAA", "consideration"] == {"open"}


def test_price_hold_and_release():
    s = Scheme()
    s.opening(USD="100")
    s.land(
        "closing_prices",
        [
            {
                "price_date": str(DAYS[0]),
                "asset_id": "AAA",
                "currency": "USD",
                "closing_price": price,
            }
            for price in ("10", "11")
        ],
    )
    s.day(DAYS[0])
    held = s.order(DAYS[1], "buy", asset_id="AAA", amount="1")
    assert s.day(DAYS[1]).orders[held] == ("rejected", "no_price")
    # Tuesday's price exceeds the limit of 5 %: held; a later file's single value releases it.
    s.land(
        "assets",
        [{**s.asset("AAA", "C1", 4, 2, "0.1"), "price_limit": "0.05", "valid_from": "2020-01-02"}],
    )
    s.prices(DAYS[1], AAA="12")
    s.prices(DAYS[1], AAA="12.0")
    bought = s.order(DAYS[2], "buy", asset_id="AAA", amount="1")
    assert s.day(DAYS[2]).orders[bought] == ("placed", "")


def test_timing_and_quantity():
    # C1 states 12 AAA traded while the ledger has 10: what is confirmed and not booked explains 2,
    # not 3.
    s = Scheme()
    s.opening(AAA="10", USD="100")
    s.order(DAYS[0], "buy", asset_id="AAA", amount="40")
    s.day(DAYS[0])
    name = instruction(DAYS[0], "AAA", "B", "A")
    s.confirm("e", name, "executed", DAYS[0], units="2", price="10", consideration="20")
    s.statement(DAYS[0], "C1", "traded", AAA="12")
    s.prices(DAYS[0], AAA="10", BBB="20")
    day = s.day(DAYS[1])
    assert day.breaks["live", "C1", "AAA", "timing"] == {"open"}
    assert day.suspended == set()
    s.statement(DAYS[1], "C1", "traded", AAA="13")
    s.statement(DAYS[1], "C0", "settled", USD="100")
    day = s.day(DAYS[2])
    assert day.breaks["live", "C1", "AAA", "timing"] == {"corrected"}
    assert day.breaks["live", "C1", "AAA", "quantity"] == {"open"}
    assert day.breaks["live", "C0", "", "stale_statement"] == {"corrected"}
    assert day.suspended == {("live", "AAA")}


def test_no_answer_and_a_stray_event():
    s = Scheme()
    s.opening(AAA="10")
    sale = s.order(DAYS[0], "sell", asset_id="AAA", units="4")
    s.day(DAYS[0])
    s.confirm("x", "B-nothing", "rejected", DAYS[0])
    assert s.day(DAYS[1]).breaks["live", "", "", "unknown"] == {"open"}
    day = s.day(DAYS[2])
    assert day.orders[sale] == ("unknown", "")
    assert day.breaks["live", "C1", "AAA", "timing"] == {"open"}
    s.confirm("r", instruction(DAYS[0], "AAA", "S", "U"), "rejected", DAYS[2])
    day = s.day(DAYS[3])
    assert day.orders[sale] == ("rejected", "custodian_rejected")
    assert pot_of(day) == {("settled", "AAA"): F(10)}
    assert day.breaks["live", "C1", "AAA", "timing"] == {"corrected"}


@pytest.mark.parametrize(
    ("feed", "row"),
    [
        ("closing_prices", {"price_date": "2026-01-03", "asset_id": "AAA"}),
        ("closing_prices", {"price_date": "2026-01-05", "asset_id": "ZZZ"}),
        ("orders", {"source": "rebalancing", "kind": "buy", "asset_id": "AAA", "amount": "1"}),
        ("orders", {"source": "t", "kind": "buy", "asset_id": "AAA", "units": "1"}),
    ],
)
def test_files_that_fail(feed, row):
    s = Scheme()
    common = {
        "currency": "USD",
        "closing_price": "1",
        "source_ref": "1",
        "received_at": "2026-01-05T08:00:00Z",
        "pot_id": "p",
    }
    assert not s.reference.land(feed, [common | row])


def test_orders_are_immutable_once_taken():
    s = Scheme()
    s.opening(USD="100")
    order = s.order(DAYS[0], "contribution", amount="5")
    s.count -= 1
    assert order == s.order(DAYS[0], "contribution", amount="6")  # replaces: not yet taken
    assert s.day(DAYS[0]).cash == {order: ("IN", F(6))}
    s.count -= 1
    s.order(DAYS[1], "contribution", amount="7")
    assert s.day(DAYS[1]).cash == {}
