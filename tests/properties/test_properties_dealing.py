"""From orders to settled units: nothing is lost in netting, sharing or posting (`rules §6-8`)."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from random_pots import AS_OF, NOON, ORDER_SCHEMA, RUN_DATE

from acme.domain import batching, booking, execution, identities, ledger, overdrafts
from acme.domain import quantities as q

ASSETS = ("A", "B")
SETTLES = AS_OF + timedelta(2)
BALANCES = {
    "book": pl.String,
    "account": pl.String,
    "state": pl.String,
    "asset_id": pl.String,
    "quantity": pl.Decimal(28, 6),
}
CONFIRMATIONS = {
    "confirmation_id": pl.String,
    "instruction_id": pl.String,
    "event": pl.String,
    "event_date": pl.Date,
    "units": pl.Decimal(18, 6),
    "price": pl.Decimal(18, 6),
    "consideration": pl.Decimal(18, 2),
    "settlement_date": pl.Date,
    "amends": pl.String,
}


@dataclass
class Dealing:
    """Orders of one batch, prices and how much of each instruction is filled."""

    orders: pl.DataFrame
    prices: dict[str, Decimal]
    decimals: dict[str, int]
    filled: list[int]  # parts of 16, one per line, in line order


@st.composite
def dealings(draw: st.DrawFn) -> Dealing:
    decimals = {a: draw(st.sampled_from([0, 2, 4, 6])) for a in ASSETS}
    rows = []
    for n in range(draw(st.integers(1, 9))):
        asset = draw(st.sampled_from(ASSETS))
        kind = draw(st.sampled_from(["unit_buy", "unit_buy", "sell", "sell", "switch", "buy"]))
        minor = draw(st.integers(1, 50) | st.integers(1, 10**6))
        units = Decimal(minor).scaleb(-decimals[asset])
        amount = Decimal(draw(st.integers(1, 10**6))).scaleb(-2)
        sale, by_amount = kind in {"sell", "switch"}, kind == "buy"
        rows.append(
            {
                "book": draw(st.sampled_from(["live", "live", "canary"])),
                "order_id": f"o{n}",
                "source": "rebalancing" if kind == "unit_buy" else "employer",
                "source_ref": f"r{n}",
                "received_at": NOON,
                "dealing_date": AS_OF,
                "pot_id": f"P{n % 4}",
                "kind": kind.removeprefix("unit_"),
                "asset_id": asset,
                "to_asset_id": None,
                "quantity_type": "A" if by_amount else "U",
                "side": "S" if sale else "B",
                "units": None if by_amount else units,
                "amount": amount if by_amount else None,
                "reserved": units if sale else amount if by_amount else Decimal(0),
                "state": "placed",
                "line_id": None,
                "allocated_units": Decimal(0),
                "consideration": Decimal(0),
                "settlement_date": None,
            }
        )
    return Dealing(
        pl.DataFrame(rows, schema=ORDER_SCHEMA),
        {a: Decimal(draw(st.integers(1, 10**8))).scaleb(-6) for a in ASSETS},
        decimals,
        [draw(st.sampled_from([0, 5, 11, 16, 16])) for _ in range(8)],
    )


def dealt(dealing: Dealing) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the members with their lines, and the open lines."""
    terms = pl.DataFrame(
        {
            "asset_id": ASSETS,
            "custodian_id": ["CUST", "OTHER"],
            "unit_decimals": [dealing.decimals[a] for a in ASSETS],
            "settlement_date": [SETTLES] * 2,
        },
        schema_overrides={"unit_decimals": pl.Int32},
    )
    members = batching.with_lines(dealing.orders, terms, AS_OF)
    lines = batching.net(members).with_columns(
        pl.lit(AS_OF).alias("dealing_date"),
        pl.lit("placed").alias("state"),
        pl.lit(Decimal(0), dtype=q.UNITS).alias("confirmed_units"),
        pl.lit(Decimal(0), dtype=q.CASH).alias("confirmed_consideration"),
    )
    return members, lines


def confirmed(dealing: Dealing, lines: pl.DataFrame) -> pl.DataFrame:
    """Return executions of a part of each instruction, and the end of each."""
    rows = []
    for line, part in zip(lines.iter_rows(named=True), dealing.filled, strict=False):
        if line["instruction_id"] is None:
            continue
        price = int(dealing.prices[line["asset_id"]].scaleb(6))
        net = int(line["net"].scaleb(6))
        quantum = q.unit_quantum(line["unit_decimals"])
        if line["quantity_type"] == "U":
            units = net * part // (16 * quantum) * quantum
            pence = q.consideration(units, price)
        else:
            pence = net // 10**4 * part // 16
            units = pence * 10**10 // (price * quantum) * quantum
        base = {"instruction_id": line["instruction_id"], "event_date": AS_OF}
        key = line["instruction_id"]
        if units or pence:
            rows.append(
                base
                | {
                    "confirmation_id": f"x-{key}",
                    "event": "executed",
                    "units": Decimal(units).scaleb(-6),
                    "price": Decimal(price).scaleb(-6),
                    "consideration": Decimal(pence).scaleb(-2),
                }
            )
        rows.append(base | {"confirmation_id": f"e-{key}", "event": "cancelled"})
    return pl.DataFrame(rows, schema=CONFIRMATIONS)


def price_frame(dealing: Dealing) -> pl.DataFrame:
    rows = [(AS_OF, a, p) for a, p in dealing.prices.items()]
    schema = {"price_date": pl.Date, "asset_id": pl.String, "closing_price": q.PRICE}
    return pl.DataFrame(rows, schema=schema, orient="row")


def dated(frame: pl.DataFrame, effective: date) -> pl.DataFrame:
    return frame.with_columns(
        booking.custodian_of(pl.col("book"), pl.lit("BANK")).alias("cash_custodian"),
        pl.lit(None, dtype=pl.Date).alias("corrected_on"),
        pl.lit(NOON).alias("event_time"),
        pl.lit(effective).alias("effective_date"),
        pl.lit(NOON).alias("known_at"),
    )


def reserved(orders: pl.DataFrame) -> pl.DataFrame:
    """Return the balances after the reservations of these orders, on pots with nothing else."""
    rows = []
    for o in orders.iter_rows(named=True):
        if o["reserved"]:
            asset = o["asset_id"] if o["side"] == "S" else "USD"
            custodian = "CANARY" if o["book"] == "canary" else "CUST"
            rows.append((o["book"], f"pot/{o['pot_id']}", "reserved", asset, o["reserved"]))
            rows.append((o["book"], f"custodian/{custodian}", "settled", asset, -o["reserved"]))
    frame = pl.DataFrame(rows, schema=BALANCES, orient="row")
    return ledger.fold(pl.DataFrame(schema=BALANCES), frame)


@given(dealings())
def test_netting_keeps_every_unit(dealing: Dealing) -> None:
    members, lines = dealt(dealing)
    assert identities.misnetted(lines, members).is_empty()
    for line in lines.iter_rows(named=True):
        mine = members.filter(pl.col("line_id") == line["line_id"]).rows(named=True)
        assert {m["book"] for m in mine} == {line["book"]}
        quantity = {"B": Decimal(0), "S": Decimal(0)}
        for m in mine:
            quantity[m["side"]] += m["amount"] if line["quantity_type"] == "A" else m["units"]
        assert (line["gross_buys"], line["gross_sells"]) == (quantity["B"], quantity["S"])
        signed = {"B": 1, "S": -1, "": 0}[line["side"]] * line["net"]
        assert signed == quantity["B"] - quantity["S"]
        assert line["crossed"] == min(quantity.values())
    assert lines["order_count"].sum() == dealing.orders.height


@given(dealings())
def test_dealing_keeps_every_identity_of_the_ledger(dealing: Dealing) -> None:
    members, lines = dealt(dealing)
    ready = execution.with_completeness(
        execution.progress(lines, execution.standing(confirmed(dealing, lines), AS_OF)),
        price_frame(dealing),
    )
    assert ready["complete"].all()
    by_line = members.select(*dealing.orders.columns, "custodian_id")
    shared = execution.allocate(ready, by_line)
    assert shared.height == dealing.orders.height
    _nobody_gets_more_than_a_share(ready, shared)

    entries = booking.Entries()
    booked = booking.book_allocations(entries, dated(shared, AS_OF), "USD")
    sides = execution.side_totals(ready).select(
        "line_id",
        "side",
        q.as_decimal(pl.col("side_units"), q.UNITS).alias("units"),
        q.as_decimal(pl.col("side_consideration"), q.CASH).alias("consideration"),
    )
    allocations = booked.select(
        "line_id", "side", pl.col("allocated_units").alias("units"), "consideration"
    )
    assert identities.misallocated(allocations, sides).is_empty()

    before = reserved(dealing.orders)
    after = ledger.fold(before, entries.all_postings())
    for balances in (before, after):
        assert ledger.unbacked_holdings(balances).is_empty()
        assert ledger.negative_balances(balances, "USD").is_empty()
        assert ledger.leaked_quantities(balances).is_empty()
    assert ledger.unbalanced_journals(entries.all_postings()).is_empty()

    open_ = booked.filter(pl.col("state") != "rejected")
    settled = booking.Entries()
    columns = [*dealing.orders.columns, "custodian_id"]
    booking.book_settlements(settled, dated(open_.select(columns), SETTLES), "USD")
    assert ledger.unbalanced_journals(settled.all_postings()).is_empty()
    end = ledger.fold(after, settled.all_postings())
    assert ledger.unbacked_holdings(end).is_empty()
    assert ledger.negative_balances(end, "USD").is_empty()
    # Nothing is left in flight, nothing reserved, and each pot has what it was allocated.
    assert set(end["state"]) <= {"settled"}
    _pots_hold_what_they_were_allocated(dealing, booked, end)
    events = pl.concat([entries.all_events(), settled.all_events()])
    assert identities.illegal_transitions(events).is_empty()

    # Balances of T are balances of P and the run's postings, in one step or in two (identity 7).
    both = pl.concat([entries.all_postings(), settled.all_postings()])
    assert ledger.fold(before, both).equals(end)


def _nobody_gets_more_than_a_share(lines: pl.DataFrame, shared: pl.DataFrame) -> None:
    totals = {
        (r["line_id"], r["side"]): r for r in execution.side_totals(lines).iter_rows(named=True)
    }
    ordered: dict[tuple[str, str], int] = {}
    rows = shared.rows(named=True)
    for r in rows:
        r["ordered"] = int((r["units"] if r["quantity_type"] == "U" else r["amount"]).scaleb(6))
        key = (r["line_id"], r["side"])
        ordered[key] = ordered.get(key, 0) + r["ordered"]
    for r in rows:
        side = totals[r["line_id"], r["side"]]
        quantum = q.unit_quantum(side["unit_decimals"])
        exact = Fraction(side["side_units"] * r["ordered"], ordered[r["line_id"], r["side"]])
        assert exact - quantum < r["executed_units"] < exact + quantum
        assert r["executed_units"] % quantum == 0
        if r["quantity_type"] == "U":
            assert r["executed_units"] <= r["ordered"]
        else:
            assert r["executed_consideration"] * 10**4 <= r["ordered"]


def _pots_hold_what_they_were_allocated(
    dealing: Dealing, booked: pl.DataFrame, end: pl.DataFrame
) -> None:
    expected: dict[tuple[str, str, str], Decimal] = {}

    def add(order: dict, asset: str, quantity: Decimal) -> None:
        key = (order["book"], f"pot/{order['pot_id']}", asset)
        expected[key] = expected.get(key, Decimal(0)) + quantity

    for order in dealing.orders.iter_rows(named=True):
        add(order, order["asset_id"] if order["side"] == "S" else "USD", order["reserved"])
    for order in booked.iter_rows(named=True):
        sign = 1 if order["side"] == "B" else -1
        add(order, order["asset_id"], sign * order["allocated_units"])
        add(order, "USD", -sign * order["consideration"])
    pots = end.filter(pl.col("account").str.starts_with("pot/"))
    found = {
        r[:3]: r[3] for r in pots.select("book", "account", "asset_id", "quantity").iter_rows()
    }
    assert found == {key: quantity for key, quantity in expected.items() if quantity}


@given(dealings(), st.randoms(use_true_random=False))
def test_row_order_has_no_effect_on_lines_and_shares(dealing: Dealing, random: object) -> None:
    rows = list(range(dealing.orders.height))
    random.shuffle(rows)
    other = Dealing(dealing.orders[rows], dealing.prices, dealing.decimals, dealing.filled)
    results = []
    for given_ in (dealing, other):
        members, lines = dealt(given_)
        ready = execution.with_completeness(
            execution.progress(lines, execution.standing(confirmed(given_, lines), AS_OF)),
            price_frame(given_),
        )
        shared = execution.allocate(ready, members.select(*dealing.orders.columns, "custodian_id"))
        keys = ["order_id", "executed_units", "executed_consideration"]
        results.append((lines, shared.select(keys).sort("order_id")))
    assert results[0][0].equals(results[1][0])
    assert results[0][1].equals(results[1][1])
    sent = [batching.instruction_file(batching.instructions(r[0], AS_OF, "USD")) for r in results]
    assert sent[0] == sent[1]


@given(dealings(), st.data())
def test_one_changed_posting_is_always_found(dealing: Dealing, data: st.DataObject) -> None:
    """Identity 1 and 2 find any one posting changed, dropped or moved to another book."""
    members, lines = dealt(dealing)
    ready = execution.with_completeness(
        execution.progress(lines, execution.standing(confirmed(dealing, lines), AS_OF)),
        price_frame(dealing),
    )
    shared = execution.allocate(ready, members.select(*dealing.orders.columns, "custodian_id"))
    entries = booking.Entries()
    booking.book_allocations(entries, dated(shared, AS_OF), "USD")
    postings = entries.all_postings()
    if postings.is_empty():
        return
    row = data.draw(st.integers(0, postings.height - 1))
    is_row = pl.int_range(pl.len()) == row
    what = data.draw(st.sampled_from(["drop", "change", "asset", "book"]))
    if what == "drop":
        broken = postings.filter(~is_row)
    else:
        quantum = pl.lit(Decimal("0.000001"), dtype=q.QUANTITY)
        changed = {
            "change": ("quantity", (pl.col("quantity") + quantum).cast(q.QUANTITY)),
            "asset": ("asset_id", pl.lit("ELSE")),
            "book": ("book", pl.lit("nowhere")),
        }
        name, value = changed[what]
        broken = postings.with_columns(
            pl.when(is_row).then(value).otherwise(pl.col(name)).alias(name)
        )
    assert not ledger.unbalanced_journals(broken).is_empty()
    after = ledger.fold(reserved(dealing.orders), broken)
    assert not ledger.unbacked_holdings(after).is_empty()


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 10**8), st.integers(-3, 3))
def test_a_cost_at_its_stress_or_above_is_a_cause(
    units: int, price: int, stress: int, off: int
) -> None:
    """`rules §8.3`: from the exact worth at the stress, rounded half-even, on."""
    worst = Fraction(units, 10**6) * Fraction(price, 10**6) * (1 + Fraction(stress, 10**8))
    cost = round(worst * 100) + off
    frame = pl.DataFrame(
        [("U", "B", units, cost, Decimal(price).scaleb(-6), Decimal(stress).scaleb(-8))],
        schema={
            "quantity_type": pl.String,
            "side": pl.String,
            "executed_units": pl.Int128,
            "executed_consideration": pl.Int128,
            "proposal_price": q.PRICE,
            "stress": q.RATIO,
        },
        orient="row",
    )
    assert overdrafts.beyond_stress(frame).is_empty() == (off < 0)


def test_the_dates_of_this_module_are_in_order() -> None:
    assert AS_OF < RUN_DATE <= SETTLES
