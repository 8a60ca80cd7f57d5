"""Rejections, order of taking, withdrawals, closing pots, switches (`rules §4`)."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from domain_frames import CUT_OFF, P, T

from acme.domain.admission import Admission, Asset, Decisions, Order, Pot
from acme.domain.orders import IllegalTransitionError, order_id

USD = "USD"
MORNING = datetime(2026, 3, 11, 8, tzinfo=CUT_OFF.tzinfo)


def n(text: str) -> int:
    """Return a quantity in minor units of 6 decimals."""
    scaled = Decimal(text).scaleb(6)
    assert scaled == int(scaled)
    return int(scaled)


def asset(name: str, **changes: object) -> Asset:
    settles = date(2026, 3, 13)
    return replace(Asset(name, 4, n("2"), n("2"), 10_000_000, False, settles), **changes)


def market(**changes: dict) -> dict[str, Asset]:
    names = {"A": {}, "B": {}, "OFF": {"suspended": True}, "NOPRICE": {"price": None}}
    return {name: asset(name, **(given | changes.get(name, {}))) for name, given in names.items()}


def pot(cash: str = "0", **changes: object) -> Pot:
    units = {a: n(u) for a, u in changes.pop("units", {}).items()}
    made = Pot("live", "P1", "R1", date(2026, 1, 1), "open", cash=n(cash), units=units)
    made.holds_units = bool(units)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def an(kind: str, number: int = 1, **fields: object) -> Order:
    """Make an order; quantities as text."""
    for name in ("units", "amount", "reserved", "consideration", "allocated_units"):
        if isinstance(fields.get(name), str):
            fields[name] = n(fields[name])
    received = fields.pop("received_at", MORNING + timedelta(minutes=number))
    given = {
        "order_id": f"o{number}",
        "source": "employer",
        "source_ref": f"r{number}",
        "dealing_date": T,
        "pot_id": "P1",
    } | fields
    return Order(book="live", received_at=received, kind=kind, **given)


def decide(
    *orders: Order, pots: list[Pot] | None = None, assets: dict[str, Asset] | None = None
) -> Decisions:
    by_id = {p.pot_id: p for p in (pots if pots is not None else [pot()])}
    admission = Admission(T, USD, CUT_OFF, assets or market(), frozenset({"R1", "R2"}), by_id)
    return admission.decide(orders)


def reasons(decisions: Decisions) -> dict[str, str | None]:
    """Return the reason of each order that was rejected, or its last state."""
    return {t.order.order_id: t.reason or t.to_state for t in decisions.transitions}


def moves(decisions: Decisions) -> list[tuple[str, str, str, Decimal]]:
    return [
        (m.kind, m.order.order_id, m.asset_id, Decimal(m.quantity).scaleb(-6))
        for m in decisions.moves
    ]


SELL_1 = {"asset_id": "A", "units": "1"}


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (an("contribution", amount="5", pot_id="nobody"), "unknown_pot"),
        (an("profile_change", risk_profile_id="R9"), "unknown_profile"),
        (an("profile_change"), "unknown_profile"),
        (an("sell", asset_id="GHOST", units="1"), "unknown_asset"),
        (an("buy", asset_id=USD, amount="1"), "unknown_asset"),
        (an("sell", asset_id="OFF", units="1"), "asset_suspended"),
        (an("buy", asset_id="NOPRICE", amount="1"), "no_price"),
        (an("sell", asset_id="A", units="1.00001"), "too_many_decimals"),
        (an("buy", asset_id="A", amount="1.001"), "too_many_decimals"),
        (an("contribution", amount="0.001"), "too_many_decimals"),
        (an("withdrawal", amount="0.001"), "too_many_decimals"),
        (an("sell", asset_id="A", units="10.0001"), "insufficient_units"),
        (an("sell", asset_id="B"), "insufficient_units"),  # all of nothing
        (an("switch", asset_id="B", to_asset_id="A"), "insufficient_units"),
        (an("buy", asset_id="A", amount="100.01"), "insufficient_cash"),
        # A switch tests both its assets for unknown, suspended and price.
        (an("switch", to_asset_id="GHOST", **SELL_1), "unknown_asset"),
        (an("switch", to_asset_id=USD, **SELL_1), "unknown_asset"),
        (an("switch", to_asset_id="OFF", **SELL_1), "asset_suspended"),
        (an("switch", to_asset_id="NOPRICE", **SELL_1), "no_price"),
        (an("switch", asset_id="NOPRICE", to_asset_id="OFF", units="1"), "asset_suspended"),
        (an("switch", asset_id="OFF", to_asset_id="GHOST", units="1"), "unknown_asset"),
        # The first reason counts.
        (an("sell", asset_id="GHOST", units="1.00001", pot_id="nobody"), "unknown_pot"),
        (an("sell", asset_id="OFF", units="99.00001"), "asset_suspended"),
        (an("sell", asset_id="A", units="99.00001"), "too_many_decimals"),
        (an("buy", asset_id="A", amount="999.001"), "too_many_decimals"),
    ],
)
def test_rejections(order: Order, reason: str) -> None:
    decisions = decide(replace(order), pots=[pot("100", units={"A": "10"})])
    assert reasons(decisions) == {"o1": reason}
    assert decisions.moves == []
    assert [t.to_state for t in decisions.transitions] == ["rejected"]
    assert [o.order_id for o in decisions.taken] == ["o1"]


def test_a_pot_is_unknown_before_it_opens() -> None:
    later = pot(opened_on=T + timedelta(1))
    assert reasons(decide(an("contribution", amount="5"), pots=[later])) == {"o1": "unknown_pot"}
    today = pot(opened_on=T)
    assert reasons(decide(an("contribution", amount="5"), pots=[today])) == {"o1": "settled"}


@pytest.mark.parametrize(
    "kind", ["contribution", "sell", "buy", "withdrawal", "profile_change", "switch"]
)
def test_a_closed_pot_takes_nothing(kind: str) -> None:
    order = an(kind, asset_id="GHOST", amount="1", risk_profile_id="R9")
    assert reasons(decide(order, pots=[pot(status="closed")])) == {"o1": "closed_pot"}


def test_accepted_orders_and_what_they_reserve() -> None:
    one = pot("100", units={"A": "10"})
    decisions = decide(
        an("contribution", 1, amount="50.25"),
        an("profile_change", 2, risk_profile_id="R2"),
        an("sell", 3, asset_id="A", units="4.0001"),
        an("switch", 4, asset_id="A", to_asset_id="B"),
        an("buy", 5, asset_id="B", amount="150.25"),
        pots=[one],
    )
    assert moves(decisions) == [
        ("contribution", "o1", USD, Decimal("50.25")),
        ("reservation", "o3", "A", Decimal("4.0001")),
        ("reservation", "o4", "A", Decimal("5.9999")),
        ("reservation", "o5", USD, Decimal("150.25")),
    ]
    assert reasons(decisions) == {
        "o1": "settled",
        "o2": "settled",
        "o3": "accepted",
        "o4": "accepted",
        "o5": "accepted",
    }
    assert (one.cash, one.units["A"], one.risk_profile_id) == (0, 0, "R2")
    assert decisions.reprofiled == {("live", "P1")}
    sold, bought = decisions.taken[3], decisions.taken[4]
    assert (sold.side, sold.quantity_type, sold.units, sold.reserved) == (
        "S",
        "U",
        n("5.9999"),
        n("5.9999"),
    )
    assert (bought.side, bought.quantity_type, bought.reserved) == ("B", "A", n("150.25"))


@pytest.mark.parametrize(
    ("order", "state"),
    [
        (an("contribution", amount="0"), "settled"),
        (an("buy", asset_id="A", amount="0"), "accepted"),
        (an("withdrawal", amount="0"), "settled"),
    ],
)
def test_an_order_of_no_money_moves_none(order: Order, state: str) -> None:
    one = pot("0")
    decisions = decide(replace(order), pots=[one])
    assert reasons(decisions) == {"o1": state}
    assert (decisions.moves, one.cash) == ([], 0)


def test_the_smallest_unit_there_is_can_be_sold() -> None:
    fine = market(A={"unit_decimals": 6})
    one = pot(units={"A": "1"})
    decisions = decide(an("sell", asset_id="A", units="0.000001"), pots=[one], assets=fine)
    assert reasons(decisions) == {"o1": "accepted"}
    assert one.units["A"] == 999_999


def test_an_order_that_has_ended_is_not_taken_again() -> None:
    with pytest.raises(IllegalTransitionError, match="'settled' to 'accepted'"):
        decide(an("buy", asset_id="A", amount="1", state="settled"), pots=[pot("1")])


def test_a_change_to_the_same_profile_is_no_change() -> None:
    decisions = decide(an("profile_change", risk_profile_id="R1"))
    assert decisions.reprofiled == set()
    assert reasons(decisions) == {"o1": "settled"}


def test_orders_are_taken_by_kind_then_time_then_id() -> None:
    same = {"received_at": MORNING}
    given = [
        an("withdrawal", 1, amount="1", **same),
        an("buy", 2, asset_id="A", amount="1", **same),
        an("sell", 3, asset_id="A", units="1", received_at=MORNING + timedelta(microseconds=1)),
        an("switch", 4, asset_id="A", to_asset_id="B", units="1", **same),
        an("profile_change", 6, risk_profile_id="R2", **same),
        an("contribution", 5, amount="9", **same),
    ]
    for rotation in range(len(given)):
        turned = [replace(o) for o in given[rotation:] + given[:rotation]]
        decisions = decide(*turned, pots=[pot(units={"A": "10"})])
        assert [o.order_id for o in decisions.taken] == ["o5", "o6", "o4", "o3", "o2", "o1"]


def test_the_first_taken_gets_the_cash() -> None:
    # 100: the earlier buy takes 60, the later of 50 is short, the withdrawal reserves the 40 left.
    decisions = decide(
        an("buy", 2, asset_id="A", amount="50"),
        an("buy", 1, asset_id="A", amount="60"),
        an("withdrawal", 3, amount="70"),
        pots=[pot("100")],
    )
    assert reasons(decisions) == {"o1": "accepted", "o2": "insufficient_cash", "o3": "accepted"}
    assert moves(decisions)[-1] == ("reservation", "o3", USD, Decimal(40))


def test_a_contribution_of_the_day_can_be_spent_and_proceeds_cannot() -> None:
    decisions = decide(
        an("sell", 1, asset_id="A", units="10"),
        an("contribution", 2, amount="20"),
        an("buy", 3, asset_id="A", amount="20"),
        an("buy", 4, asset_id="A", amount="0.01"),
        pots=[pot(units={"A": "10"})],
    )
    assert reasons(decisions)["o3"] == "accepted"
    assert reasons(decisions)["o4"] == "insufficient_cash"


def standing(kind: str, number: int, **fields: object) -> Order:
    side = {"buy": "B", "sell": "S", "switch": "S"}.get(kind)
    given = {
        "dealing_date": P,
        "state": "placed",
        "side": side,
        "quantity_type": "A" if fields.get("amount") and side else "U" if side else None,
    }
    return an(kind, number, **(given | fields))


# Each leaves 100.00 of settled cash less than 100.00 to promise.
COMMITMENTS = [
    # A unit buy not booked: money(10 x 2 x 1.1) + 0.01 = 22.01.
    (standing("buy", 9, source="rebalancing", asset_id="A", units="10"), "77.99"),
    (standing("buy", 9, source="rebalancing", asset_id="A", units="10", state="unknown"), "77.99"),
    # At the newest price where P has none: 2 x 10 x 1.1.
    (standing("buy", 9, source="rebalancing", asset_id="NOPRICE", units="10"), "77.99"),
    (
        standing(
            "buy",
            9,
            source="rebalancing",
            asset_id="A",
            units="10",
            state="executed",
            consideration="30.55",
            allocated_units="10",
        ),
        "69.45",
    ),
    (
        standing(
            "buy",
            9,
            source="rebalancing",
            asset_id="A",
            units="10",
            state="part_executed",
            consideration="30.55",
        ),
        "69.45",
    ),
    (standing("buy", 9, source="switch", asset_id="A", amount="40"), "60"),
    (standing("buy", 9, source="switch", asset_id="A", amount="0"), "100"),
    # Reserved is not counted twice; what was sold is not there yet.
    (standing("buy", 9, asset_id="A", amount="40", reserved="40"), "100"),
    (
        standing(
            "buy",
            9,
            asset_id="A",
            amount="40",
            reserved="39",
            state="part_executed",
            consideration="39",
        ),
        "100",
    ),
    (
        standing(
            "sell",
            9,
            asset_id="A",
            units="10",
            reserved="10",
            state="executed",
            consideration="500",
        ),
        "100",
    ),
    (standing("sell", 9, asset_id="A", units="10", reserved="10"), "100"),
]


@pytest.mark.parametrize(("order", "expected"), COMMITMENTS)
def test_available_cash(order: Order, expected: str) -> None:
    one = pot("100", orders=[replace(order)])
    assert one.available_cash(market()) == n(expected)
    short = str(Decimal(expected) + Decimal("0.01"))
    again = [pot("100", orders=[replace(order)]) for _ in range(2)]
    assert reasons(decide(an("buy", asset_id="A", amount=short), pots=again[:1])) == {
        "o1": "insufficient_cash"
    }
    assert reasons(decide(an("buy", asset_id="A", amount=expected), pots=again[1:])) == {
        "o1": "accepted"
    }


def test_a_unit_buy_commits_a_penny_at_least() -> None:
    """Nothing at 10 000.00, or a million at no price at all: money(0) + 0.01."""
    nothing = standing("buy", 9, source="rebalancing", asset_id="A", units="0")
    dear = market(A={"last_price": n("10000")})
    assert pot("100", orders=[nothing]).available_cash(dear) == n("99.99")
    many = standing("buy", 9, source="rebalancing", asset_id="A", units="1000000")
    never = market(A={"last_price": None})
    assert pot("100", orders=[many]).available_cash(never) == n("99.99")


def test_a_waiting_switch_buy_is_committed() -> None:
    waiting = standing(
        "buy",
        9,
        source="switch",
        asset_id="A",
        amount="40",
        state="received",
        source_ref="sale",
        settlement_date=date(2026, 3, 20),
    )
    sale = standing(
        "switch",
        8,
        order_id="sale",
        asset_id="B",
        units="1",
        state="executed",
        settlement_date=date(2026, 3, 20),
        reserved="1",
    )
    assert pot("100", orders=[waiting, sale]).available_cash(market()) == n("60")


def test_available_cash_is_never_below_zero() -> None:
    buy = standing("buy", 9, source="switch", asset_id="A", amount="40")
    assert pot("10", orders=[buy]).available_cash(market()) == 0
    assert pot("-5").available_cash(market()) == 0


def withdrawal(
    number: int, amount: str, reserved: str = "0", dealt: date = P, **more: object
) -> Order:
    return standing(
        "withdrawal",
        number,
        amount=amount,
        reserved=reserved,
        state="accepted",
        dealing_date=dealt,
        quantity_type=None,
        **more,
    )


def test_a_withdrawal_in_reach_is_paid_at_once() -> None:
    one = pot("100")
    decisions = decide(an("withdrawal", amount="60.01"), pots=[one])
    assert moves(decisions) == [
        ("reservation", "o1", USD, Decimal("60.01")),
        ("payment", "o1", USD, Decimal("60.01")),
    ]
    assert [t.to_state for t in decisions.transitions] == ["accepted", "settled"]
    assert one.cash == n("39.99")
    paid = decisions.taken[0]
    assert (paid.reserved, paid.allocated_units, paid.consideration) == (0, 0, 0)


def test_a_withdrawal_out_of_reach_reserves_and_waits() -> None:
    one = pot("100", units={"A": "10"})
    decisions = decide(an("withdrawal", amount="130"), pots=[one])
    assert moves(decisions) == [("reservation", "o1", USD, Decimal(100))]
    assert reasons(decisions) == {"o1": "accepted"}
    assert (one.cash, one.orders[0].reserved) == (0, n("100"))


def test_open_withdrawals_are_served_oldest_first() -> None:
    older = withdrawal(2, "80", "30", dealt=date(2026, 3, 9))
    newer = withdrawal(1, "80", dealt=P)
    one = pot("100", units={"A": "1"}, orders=[newer, older])
    decisions = decide(pots=[one])
    # 50 complete the older, which is paid; 50 of 80 for the newer.
    assert moves(decisions) == [
        ("reservation", "o2", USD, Decimal(50)),
        ("payment", "o2", USD, Decimal(80)),
        ("reservation", "o1", USD, Decimal(50)),
    ]
    assert reasons(decisions) == {"o2": "settled"}


def test_age_is_dealing_date_then_time_then_id() -> None:
    first = withdrawal(1, "60", received_at=MORNING)
    second = withdrawal(2, "60", received_at=MORNING)
    one = pot("60", units={"A": "1"}, orders=[second, first])
    assert reasons(decide(pots=[one])) == {"o1": "settled"}
    early = withdrawal(2, "60", received_at=MORNING - timedelta(seconds=1))
    one = pot("60", units={"A": "1"}, orders=[first, early])
    first.state, first.reserved = "accepted", 0
    assert reasons(decide(pots=[one])) == {"o2": "settled"}


def test_open_withdrawals_come_before_the_orders_of_the_day() -> None:
    one = pot("50", units={"A": "1"}, orders=[withdrawal(9, "80")])
    decisions = decide(
        an("contribution", 1, amount="100"), an("buy", 2, asset_id="A", amount="100"), pots=[one]
    )
    # The contribution of the day does not reach yesterday's withdrawal; the buy spends it.
    assert moves(decisions) == [
        ("reservation", "o9", USD, Decimal(50)),
        ("contribution", "o1", USD, Decimal(100)),
        ("reservation", "o2", USD, Decimal(100)),
    ]


def test_a_pot_with_nothing_left_pays_what_it_reserved() -> None:
    paid, empty = withdrawal(1, "80", "10"), withdrawal(2, "70")
    one = pot("30", orders=[paid, empty])
    decisions = decide(pots=[one])
    # 30 more for the older: 40 of 80 are paid. The newer has nothing.
    assert moves(decisions) == [
        ("reservation", "o1", USD, Decimal(30)),
        ("payment", "o1", USD, Decimal(40)),
    ]
    assert [(t.order.order_id, t.to_state, t.reason) for t in decisions.transitions] == [
        ("o1", "settled", "short_paid"),
        ("o2", "rejected", "insufficient_cash"),
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"holds_units": True},  # in any state: in flight or reserved too
        {"orders": [standing("sell", 8, asset_id="A", units="1", reserved="1")]},
        {"orders": [standing("sell", 8, asset_id="A", units="1", state="executed")]},
        {
            "orders": [
                standing(
                    "buy",
                    8,
                    source="switch",
                    asset_id="A",
                    amount="1",
                    state="received",
                    source_ref="x",
                    settlement_date=date(2026, 3, 30),
                ),
                standing(
                    "switch",
                    7,
                    order_id="x",
                    asset_id="B",
                    units="1",
                    state="executed",
                    settlement_date=date(2026, 3, 30),
                ),
            ]
        },
    ],
)
def test_a_pot_with_anything_left_is_not_short_paid(more: dict) -> None:
    orders = [withdrawal(1, "80"), *[replace(o) for o in more.get("orders", [])]]
    decisions = decide(pots=[pot("30", **(more | {"orders": orders}))])
    assert reasons(decisions) == {}


def test_a_withdrawal_taken_today_is_not_short_paid_today() -> None:
    """Only withdrawals open at the start of decide (`rules §4`)."""
    decisions = decide(an("withdrawal", amount="80"), pots=[pot("30")])
    assert reasons(decisions) == {"o1": "accepted"}


def all_of_it(number: int = 1, **fields: object) -> Order:
    return an("withdrawal", number, **fields)


def test_a_withdrawal_of_all_closes_a_pot_of_cash_at_once() -> None:
    one = pot("30")
    decisions = decide(all_of_it(2), an("contribution", 1, amount="5"), pots=[one])
    assert moves(decisions) == [
        ("contribution", "o1", USD, Decimal(5)),
        ("reservation", "o2", USD, Decimal(35)),
        ("payment", "o2", USD, Decimal(35)),
    ]
    assert [t.to_state for t in decisions.transitions if t.order.order_id == "o2"] == [
        "accepted",
        "settled",
    ]
    assert (one.status, one.cash) == ("closed", 0)


def test_an_empty_pot_closes_without_a_payment() -> None:
    one = pot("0")
    decisions = decide(all_of_it(), pots=[one])
    assert decisions.moves == []
    assert (one.status, reasons(decisions)) == ("closed", {"o1": "settled"})
    bare = Pot("live", "P1", "R1", date(2026, 1, 1), "open")
    assert decide(all_of_it(), pots=[bare]).moves == []
    assert bare.status == "closed"


def test_a_closing_pot_sells_what_it_can() -> None:
    one = pot("30", units={"A": "10.5", "B": "0.0001", "OFF": "3", "NOPRICE": "4"})
    decisions = decide(all_of_it(7), pots=[one])
    ref = "o7:A:2026-03-11"
    assert [(o.source, o.kind, o.asset_id, o.units, o.state) for o in decisions.taken[1:]] == [
        ("withdrawal", "sell", "A", n("10.5"), "accepted"),
        ("withdrawal", "sell", "B", n("0.0001"), "accepted"),  # no minimum
    ]
    sale = decisions.taken[1]
    assert (sale.source_ref, sale.order_id) == (ref, order_id("withdrawal", ref))
    assert (sale.side, sale.quantity_type, sale.reserved, sale.dealing_date) == (
        "S",
        "U",
        n("10.5"),
        T,
    )
    # The pot knows its new sales: they are unsettled, and it cannot close before they are.
    assert [o.asset_id for o in one.orders if o.kind == "sell"] == ["A", "B"]
    assert (one.status, one.units["A"], one.units["OFF"]) == ("closing", 0, n("3"))
    assert one.cash == n("30")


CLOSING_ALL = standing("withdrawal", 5, state="accepted", quantity_type=None)


def closing(cash: str = "0", *more: Order, **changes: object) -> Pot:
    orders = [replace(CLOSING_ALL), *[replace(o) for o in more]]
    return pot(cash, status="closing", orders=orders, **changes)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (an("buy", asset_id="A", amount="1"), "closed_pot"),
        (an("switch", asset_id="A", to_asset_id="B"), "closed_pot"),
        (an("withdrawal"), "closed_pot"),
        (an("buy", asset_id="GHOST", amount="1"), "closed_pot"),  # the first reason
        (an("contribution", amount="1"), "settled"),
        (an("sell", asset_id="A", units="1"), "accepted"),
        (an("withdrawal", amount="1"), "settled"),
        (an("profile_change", risk_profile_id="R2"), "settled"),
    ],
)
def test_what_a_closing_pot_takes(order: Order, expected: str) -> None:
    one = closing("10", units={"A": "1", "OFF": "1"})
    assert reasons(decide(replace(order), pots=[one]))["o1"] == expected


@pytest.mark.parametrize(
    "more",
    [
        {"holds_units": True},
        {"units": {"OFF": "1"}},
        {"order": standing("sell", 8, asset_id="A", units="1", state="part_executed")},
        {"order": standing("buy", 8, source="rebalancing", asset_id="A", units="1")},
    ],
)
def test_a_closing_pot_stays_open_while_anything_is_left(more: dict) -> None:
    orders = [order for name, order in more.items() if name == "order"]
    one = closing("50", *orders, **{n: v for n, v in more.items() if n != "order"})
    decisions = decide(pots=[one])
    assert one.status == "closing"
    assert "o5" not in reasons(decisions)
    assert one.cash == n("50")


@pytest.mark.parametrize(("units", "sold"), [("0", []), ("0.000001", [1])])
def test_a_closing_pot_sells_the_last_unit_and_not_what_it_has_not(
    units: str, sold: list[int]
) -> None:
    one = closing(units={"A": units}, holds_units=bool(sold))
    assert [o.units for o in decide(pots=[one]).taken] == sold
    assert one.status == ("closing" if sold else "closed")


def test_a_closing_pot_sells_again_what_comes_free_later() -> None:
    """Units that were suspended, unpriced or returned are sold in the run they become available."""
    one = closing(units={"OFF": "3"})
    decisions = decide(pots=[one], assets=market(OFF={"suspended": False}))
    assert [(o.asset_id, o.units) for o in decisions.taken] == [("OFF", n("3"))]
    assert decisions.taken[0].source_ref == "o5:OFF:2026-03-11"


def test_a_sale_to_close_names_the_withdrawal_of_all_and_no_other_order() -> None:
    earlier = [
        standing("sell", 2, asset_id="OFF"),
        withdrawal(3, "80"),
        standing("withdrawal", 4, state="settled", quantity_type=None),
    ]
    one = pot(units={"A": "1"}, status="closing", orders=[*earlier, replace(CLOSING_ALL)])
    decisions = decide(pots=[one])
    assert [o.source_ref for o in decisions.taken] == ["o5:A:2026-03-11"]
    assert decisions.taken[0].received_at == CUT_OFF


def test_closing_pays_open_withdrawals_first_then_all() -> None:
    # 10 reserved of 80, and 20 settled: reserved at the start of decide, so 30 are paid of 80.
    one = closing("20", withdrawal(3, "80", "10"), withdrawal(4, "9"))
    decisions = decide(an("contribution", 1, amount="7"), pots=[one])
    assert [m for m in moves(decisions) if m[0] == "payment"] == [
        ("payment", "o3", USD, Decimal(30)),
        ("payment", "o5", USD, Decimal(7)),
    ]
    assert reasons(decisions)["o4"] == "insufficient_cash"
    assert reasons(decisions)["o5"] == "settled"
    assert one.status == "closed"


def test_what_a_withdrawal_taken_before_the_close_reserved_is_paid_at_the_close() -> None:
    one = closing("20")
    decisions = decide(
        an("withdrawal", 1, amount="50"), an("withdrawal", 2, amount="9"), pots=[one]
    )
    assert reasons(decisions) == {"o1": "short_paid", "o2": "insufficient_cash", "o5": "settled"}
    assert [m for m in moves(decisions) if m[0] == "payment"] == [
        ("payment", "o1", USD, Decimal(20))
    ]
    assert one.status == "closed"


SALE_SETTLES = date(2026, 3, 13)


def switched(
    sale_state: str | None = "executed", settles: date = SALE_SETTLES, **changes: object
) -> list[Order]:
    buy = standing(
        "buy",
        2,
        source="switch",
        source_ref="o1",
        asset_id="B",
        amount="40",
        state="received",
        settlement_date=settles,
        **changes,
    )
    if sale_state is None:
        return [buy]
    return [
        buy,
        standing(
            "switch",
            1,
            asset_id="A",
            to_asset_id="B",
            units="20",
            reserved="20",
            state=sale_state,
            settlement_date=settles,
            consideration="40",
        ),
    ]


@pytest.mark.parametrize(
    ("sale_state", "buy_settles", "made", "reserves"),
    [
        ("executed", date(2026, 3, 13), True, False),  # the same date is in time
        ("executed", date(2026, 3, 16), True, False),
        ("executed", date(2026, 3, 12), False, False),  # paid for a day before the sale is
        ("part_executed", date(2026, 3, 13), True, False),
        (None, date(2026, 3, 12), True, True),  # the sale is settled
        (None, date(2026, 3, 13), True, True),
    ],
)
def test_a_switch_buy_is_made_when_its_cash_is_in_time(
    sale_state: str | None, buy_settles: date, made: bool, reserves: bool
) -> None:
    one = pot("40", orders=switched(sale_state))
    decisions = decide(pots=[one], assets=market(B={"settlement_date": buy_settles}))
    assert reasons(decisions) == ({"o2": "accepted"} if made else {})
    assert moves(decisions) == ([("reservation", "o2", USD, Decimal(40))] if reserves else [])
    if made:
        assert decisions.taken[0].dealing_date == T


@pytest.mark.parametrize(
    ("asset_id", "reason"), [("OFF", "asset_suspended"), ("NOPRICE", "no_price")]
)
def test_a_switch_buy_is_rejected_as_any_buy(asset_id: str, reason: str) -> None:
    one = pot("40", orders=[replace(switched(None)[0], asset_id=asset_id)])
    decisions = decide(pots=[one])
    assert reasons(decisions) == {"o2": reason}
    assert (decisions.moves, one.cash) == ([], n("40"))


def test_a_switch_buy_of_nothing_reserves_nothing() -> None:
    one = pot("40", orders=[replace(switched(None)[0], amount=0)])
    decisions = decide(pots=[one])
    assert (reasons(decisions), decisions.moves) == ({"o2": "accepted"}, [])


def test_a_rejected_switch_buy_commits_no_cash() -> None:
    one = pot("40", orders=[replace(switched(None)[0], asset_id="OFF")])
    decisions = decide(an("buy", 1, asset_id="A", amount="40"), pots=[one])
    assert reasons(decisions) == {"o2": "asset_suspended", "o1": "accepted"}


def test_a_switch_buy_of_a_closing_pot_is_rejected_and_the_pot_closes() -> None:
    one = closing("40", switched(None)[0])
    decisions = decide(pots=[one])
    assert reasons(decisions) == {"o2": "closed_pot", "o5": "settled"}
    assert one.status == "closed"


def test_a_switch_buy_is_never_short_of_cash() -> None:
    one = pot("10", orders=switched("executed"))
    assert reasons(decide(pots=[one])) == {"o2": "accepted"}


def test_switch_buys_come_after_withdrawals_and_before_the_orders_of_the_day() -> None:
    # The waiting buy of 40 is committed: the withdrawal finds 60 of 100, the new buy nothing.
    one = pot("100", orders=[*switched(None), withdrawal(3, "90")])
    decisions = decide(an("buy", 6, asset_id="A", amount="0.01"), pots=[one])
    assert moves(decisions) == [
        ("reservation", "o3", USD, Decimal(60)),
        ("reservation", "o2", USD, Decimal(40)),
    ]
    assert reasons(decisions)["o6"] == "insufficient_cash"


def test_the_order_of_pots_has_no_effect() -> None:
    def pots() -> list[Pot]:
        return [replace(pot("10"), pot_id=name, orders=[]) for name in ("P2", "P1", "P3")]

    given = [an("buy", k, asset_id="A", amount="6", pot_id=f"P{k % 3 + 1}") for k in range(1, 7)]
    results = []
    for direction in (1, -1):
        decisions = decide(*[replace(o) for o in given][::direction], pots=pots()[::direction])
        results.append((moves(decisions), reasons(decisions)))
    assert results[0] == results[1]
