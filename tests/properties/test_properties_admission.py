"""Whatever is asked of a pot, decide never promises what is not there (`rules §4`)."""

from copy import deepcopy
from dataclasses import dataclass
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st
from random_pots import AS_OF, NOON, RUN_DATE

from acme.domain.admission import Admission, Asset, Decisions, Order, Pot

USD = "USD"
ASSETS = {
    name: Asset(name, 2, price, 2 * 10**6, 10_000_000, suspended, RUN_DATE + timedelta(2))
    for name, price, suspended in [
        ("A", 2 * 10**6, False),
        ("B", 3 * 10**6, False),
        ("OFF", 10**6, True),
        ("NONE", None, False),
    ]
}
POUNDS = st.integers(1, 300).map(lambda n: n * 10**6) | st.just(10_010_000) | st.just(1)
UNITS = st.integers(1, 20).map(lambda n: n * 10**6) | st.just(5_010_000) | st.just(1)


@dataclass
class Case:
    """Pots as they stand, and the orders of the day."""

    pots: list[Pot]
    orders: list[Order]


def order(number: int, pot_id: str, kind: str, **fields: object) -> Order:
    received = NOON - timedelta(minutes=fields.pop("minutes", 1))
    given_ = {"dealing_date": RUN_DATE} | fields
    return Order(
        f"o{number:03d}",
        "live",
        "employer",
        f"r{number}",
        received,
        pot_id=pot_id,
        kind=kind,
        **given_,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    pots = []
    number = 0
    for n in range(draw(st.integers(1, 3))):
        status = draw(st.sampled_from(["open", "open", "open", "closing", "closed"]))
        pot = Pot(
            "live", f"P{n}", "R1", date(2026, 1, 1), status, cash=draw(st.integers(0, 40)) * 10**7
        )
        pot.units = {
            a: draw(UNITS) for a in draw(st.sets(st.sampled_from(["A", "B", "OFF", "NONE"])))
        }
        pot.holds_units = bool(pot.units)
        if status == "closing":
            number += 1
            pot.orders.append(
                order(number, pot.pot_id, "withdrawal", dealing_date=AS_OF, state="accepted")
            )
        for _ in range(draw(st.integers(0, 3))):
            number += 1
            amount = draw(st.integers(2, 300)) * 10**6
            what = draw(st.sampled_from(["withdrawal", "unit_buy", "booked_buy", "switch_buy"]))
            base = {"dealing_date": AS_OF, "state": "placed", "side": "B", "asset_id": "A"}
            more = {
                "withdrawal": {
                    "state": "accepted",
                    "side": None,
                    "asset_id": None,
                    "amount": amount,
                    "reserved": amount // 2 // 10**4 * 10**4,
                },
                "unit_buy": {"source": "rebalancing", "units": 5 * 10**6, "quantity_type": "U"},
                "booked_buy": {
                    "units": 5 * 10**6,
                    "quantity_type": "U",
                    "state": "executed",
                    "consideration": amount,
                },
                "switch_buy": {"amount": amount, "quantity_type": "A"},
            }[what]
            fields = base | more
            source = fields.pop("source", "switch" if what == "switch_buy" else "employer")
            kind = "withdrawal" if what == "withdrawal" else "buy"
            made = order(number, pot.pot_id, kind, **fields)
            made.source = source
            pot.orders.append(made)
        pots.append(pot)
    orders = []
    for _ in range(draw(st.integers(0, 8))):
        number += 1
        kind = draw(
            st.sampled_from(
                [
                    "contribution",
                    "withdrawal",
                    "withdrawal",
                    "buy",
                    "sell",
                    "switch",
                    "profile_change",
                ]
            )
        )
        fields = {"minutes": draw(st.integers(1, 3))}
        if kind in {"contribution", "buy"} or (kind == "withdrawal" and draw(st.booleans())):
            fields["amount"] = draw(POUNDS)
        if kind in {"buy", "sell", "switch"}:
            fields["asset_id"] = draw(st.sampled_from(["A", "B", "OFF", "NONE", "GHOST"]))
        if kind == "switch":
            fields["to_asset_id"] = draw(st.sampled_from(["A", "B", "OFF"]))
        if kind in {"sell", "switch"} and draw(st.booleans()):
            fields["units"] = draw(UNITS)
        if kind == "profile_change":
            fields["risk_profile_id"] = draw(st.sampled_from(["R1", "R2", "R9"]))
        orders.append(order(number, f"P{draw(st.integers(0, 3))}", kind, **fields))
    return Case(pots, orders)


def decide(case: Case) -> tuple[Decisions, dict[str, Pot]]:
    mine = deepcopy(case)
    pots = {p.pot_id: p for p in mine.pots}
    admission = Admission(RUN_DATE, USD, NOON, ASSETS, frozenset({"R1", "R2"}), pots)
    return admission.decide(mine.orders), pots


@given(cases())
def test_nothing_is_promised_twice(case: Case) -> None:
    decisions, pots = decide(case)
    before = {p.pot_id: p for p in case.pots}
    cash = {n: p.cash for n, p in before.items()}
    units = {(n, a): u for n, p in before.items() for a, u in p.units.items()}
    reserved = {o.order_id: o.reserved for p in case.pots for o in p.orders}
    for move in decisions.moves:
        name, sign = move.order.pot_id, 1 if move.kind == "contribution" else -1
        assert move.quantity > 0
        if move.kind == "payment":
            reserved[move.order.order_id] -= move.quantity
            assert reserved[move.order.order_id] >= 0
            continue
        if move.kind == "reservation":
            reserved[move.order.order_id] = reserved.get(move.order.order_id, 0) + move.quantity
        if move.asset_id == USD:
            cash[name] += sign * move.quantity
        else:
            units[name, move.asset_id] -= move.quantity
    # The moves are the whole story of the pots, and nothing falls below zero.
    for name, pot in pots.items():
        assert pot.cash == cash[name] >= 0
        for asset_id, left in pot.units.items():
            assert left == units[name, asset_id] >= 0
        for o in pot.orders:
            if o.state not in {"settled", "rejected"}:
                assert o.reserved == reserved.get(o.order_id, 0)


@given(cases())
def test_what_was_committed_before_is_still_covered(case: Case) -> None:
    """New promises come out of available cash: it never shrinks below zero because of them."""
    decisions, pots = decide(case)
    for name, pot in pots.items():
        before = next(p for p in case.pots if p.pot_id == name)
        spent = sum(
            m.quantity
            for m in decisions.moves
            if m.order.pot_id == name and m.asset_id == USD and m.kind == "reservation"
        )
        came = sum(
            m.quantity
            for m in decisions.moves
            if m.order.pot_id == name and m.kind == "contribution"
        )
        if pot.status != "closed":
            assert spent <= before.available_cash(ASSETS) + came


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_rows_has_no_effect(case: Case, random: object) -> None:
    turned = deepcopy(case)
    random.shuffle(turned.orders)
    random.shuffle(turned.pots)
    for pot in turned.pots:
        random.shuffle(pot.orders)
    one, two = decide(case)[0], decide(turned)[0]

    def told(decisions: Decisions) -> list[tuple]:
        moves = [(m.kind, m.order.order_id, m.asset_id, m.quantity) for m in decisions.moves]
        steps = [
            (t.order.order_id, t.from_state, t.to_state, t.reason) for t in decisions.transitions
        ]
        return [*moves, *steps]

    assert told(one) == told(two)


@given(cases(), st.integers(0, 3))
def test_pots_are_decided_alone(case: Case, which: int) -> None:
    name = f"P{which}"
    alone = Case(
        [p for p in case.pots if p.pot_id == name], [o for o in case.orders if o.pot_id == name]
    )

    def told(decisions: Decisions) -> list[tuple]:
        return [
            (t.order.order_id, t.to_state, t.reason)
            for t in decisions.transitions
            if t.order.pot_id == name
        ]

    assert told(decide(case)[0]) == told(decide(alone)[0])


@given(cases())
def test_every_order_of_the_day_is_taken_and_answered_once(case: Case) -> None:
    decisions, _ = decide(case)
    taken = [o.order_id for o in decisions.taken if o.source == "employer"]
    assert sorted(taken) == sorted(o.order_id for o in case.orders)
    for o in case.orders:
        steps = [t for t in decisions.transitions if t.order.order_id == o.order_id]
        assert steps[0].from_state == "received"
        assert (steps[0].to_state == "rejected") == (steps[0].reason is not None)
