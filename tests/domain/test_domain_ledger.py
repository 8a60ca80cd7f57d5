"""Folding, and that every identity of `rules §8` finds what is planted against it."""

from decimal import Decimal

import polars as pl
import pytest
from domain_frames import P, balances, frame, orders, postings

from acme.domain import identities, ledger

GOOD = [
    {"account": "pot/P1", "asset_id": "A", "quantity": "10"},
    {"account": "custodian/CUST", "asset_id": "A", "quantity": "-10"},
    {"account": "pot/P1", "asset_id": "USD", "quantity": "-5.5"},
    {"account": "custodian/BANK", "asset_id": "USD", "quantity": "5.5"},
]


def test_balanced_journals_pass() -> None:
    assert ledger.unbalanced_journals(postings(*GOOD)).is_empty()


@pytest.mark.parametrize(
    ("row", "change", "asset"),
    [
        (0, {"quantity": "10.000001"}, "A"),
        (2, {"quantity": "-5.51"}, "USD"),
        (1, {"asset_id": "B"}, "A"),
        (1, {"book": "canary"}, "A"),
        (1, {"journal_id": "J2"}, "A"),
    ],
)
def test_identity_1_finds_a_journal_that_does_not_balance(
    row: int, change: dict, asset: str
) -> None:
    rows = [r | change if n == row else r for n, r in enumerate(GOOD)]
    found = ledger.unbalanced_journals(postings(*rows))
    assert ("live", "J1", asset) in found.select("book", "journal_id", "asset_id").rows()


def test_what_breaks_identities_1_and_2_is_told_in_order() -> None:
    keys = [(b, j, a) for b in ("live", "canary") for j in ("J3", "J1", "J2") for a in "BCA"]
    rows = [
        {"book": b, "journal_id": j, "asset_id": a, "account": "pot/P1", "quantity": "1"}
        for b, j, a in keys
    ]
    found = ledger.unbalanced_journals(postings(*rows))
    assert found.select("book", "journal_id", "asset_id").rows() == sorted(keys)
    held = [
        {"book": b, "asset_id": a, "state": s, "account": "pot/P1", "quantity": "1"}
        for b in ("live", "canary")
        for a in "BCA"
        for s in ("settled", "in_flight")
    ]
    found = ledger.unbacked_holdings(balances(*held))
    key = ["book", "asset_id", "state"]
    assert found.select(key).rows() == sorted(tuple(r[k] for k in key) for r in held)


def test_identity_1_does_not_net_over_journals() -> None:
    rows = [GOOD[0], GOOD[1] | {"quantity": "-9"}, GOOD[1] | {"quantity": "-1", "journal_id": "J2"}]
    assert ledger.unbalanced_journals(postings(*rows)).height == 2


def test_identity_2_counts_reserved_with_settled_and_suspense_with_pots() -> None:
    rows = [
        {"account": "pot/P1", "asset_id": "A", "quantity": "6"},
        {"account": "pot/P1", "asset_id": "A", "quantity": "3", "state": "reserved"},
        {"account": "suspense/correction", "asset_id": "A", "quantity": "1"},
        {"account": "custodian/CUST", "asset_id": "A", "quantity": "-10"},
    ]
    assert ledger.unbacked_holdings(balances(*rows)).is_empty()
    assert ledger.unbacked_holdings(balances(*rows[:3])).height == 1
    # In flight is apart: units settled here and in flight there do not make up for each other.
    flying = [rows[0] | {"quantity": "10"}, rows[3] | {"state": "in_flight"}]
    assert ledger.unbacked_holdings(balances(*flying)).select("state").to_series().to_list() == [
        "in_flight",
        "settled",
    ]
    # Nor does one book for the other.
    mixed = [rows[0] | {"quantity": "10"}, rows[3] | {"book": "canary"}]
    assert ledger.unbacked_holdings(balances(*mixed)).height == 2


@pytest.mark.parametrize(
    ("row", "negative", "overdrawn"),
    [
        ({"asset_id": "A"}, True, False),
        ({"asset_id": "A", "state": "reserved"}, True, False),
        ({"asset_id": "A", "state": "in_flight"}, False, False),
        ({"asset_id": "USD"}, False, True),
        ({"asset_id": "USD", "state": "reserved"}, True, False),
        ({"asset_id": "USD", "state": "in_flight"}, False, False),
        ({"asset_id": "A", "account": "custodian/CUST"}, False, False),
        ({"asset_id": "A", "quantity": "0.000001"}, False, False),
        ({"asset_id": "A", "quantity": "0"}, False, False),
        ({"asset_id": "USD", "quantity": "0.01"}, False, False),
        ({"asset_id": "USD", "quantity": "0"}, False, False),
        ({"asset_id": "USD", "account": "custodian/BANK"}, False, False),
        ({"asset_id": "USD", "account": "suspense/correction"}, False, False),
    ],
)
def test_identity_3_finds_every_negative_balance(
    row: dict, negative: bool, overdrawn: bool
) -> None:
    frame_ = balances({"account": "pot/P1", "quantity": "-0.000001"} | row)
    assert ledger.negative_balances(frame_, "USD").is_empty() != negative
    assert ledger.overdrawn_pots(frame_, "USD").is_empty() != overdrawn


def test_what_breaks_identities_3_and_6_is_told_in_the_order_of_balances() -> None:
    key = ledger.BALANCE_KEY
    rows = [
        {"book": b, "account": f"{kind}/{n}", "state": "settled", "asset_id": a, "quantity": "-1"}
        for b in ("live", "canary")
        for kind, n in (("pot", 3), ("pot", 1), ("pot", 2), ("custodian", 2), ("custodian", 1))
        for a in ("B", "USD", "A")
    ]
    every = sorted(tuple(r[k] for k in key) for r in rows)
    frame_ = balances(*rows)
    pots = [k for k in every if k[1].startswith("pot/")]
    assert ledger.negative_balances(frame_, "USD").select(key).rows() == [
        k for k in pots if k[3] != "USD"
    ]
    assert ledger.overdrawn_pots(frame_, "USD").select(key).rows() == [
        k for k in pots if k[3] == "USD"
    ]
    assert ledger.leaked_quantities(frame_).select(key).rows() == [
        k for k in every if k[0] == "canary" and k not in pots
    ]


SIDES = {
    "line_id": pl.String,
    "side": pl.String,
    "units": pl.Decimal(18, 6),
    "consideration": pl.Decimal(18, 2),
}


def allocated(*rows: tuple) -> pl.DataFrame:
    return frame(SIDES, [dict(zip(SIDES, row, strict=True)) for row in rows])


@pytest.mark.parametrize(
    ("shares", "broken"),
    [
        ([("L", "B", "6", "12.00"), ("L", "B", "4", "8.00"), ("L", "S", "1", "2.00")], set()),
        ([("L", "B", "6", "12.00"), ("L", "B", "4", "8.01"), ("L", "S", "1", "2.00")], {"B"}),
        ([("L", "B", "6.0001", "12.00"), ("L", "B", "4", "8.00"), ("L", "S", "1", "2.00")], {"B"}),
        ([("L", "B", "10", "20.00")], {"S"}),  # a side without allocations
        ([("L", "B", "10", "20.00"), ("L", "S", "1", "2.00"), ("M", "S", "1", "2.00")], {"S"}),
        ([("L", "S", "10", "20.00"), ("L", "B", "1", "2.00")], {"B", "S"}),
    ],
)
def test_identity_4_finds_what_was_not_shared_out(shares: list, broken: set) -> None:
    executed = allocated(("L", "B", "10", "20.00"), ("L", "S", "1", "2.00"))
    assert set(identities.misallocated(allocated(*shares), executed)["side"]) == broken


def test_identity_4_finds_a_side_nobody_shared_in_and_one_nobody_executed() -> None:
    """Down to one unit for 1.00, and every one, in order."""
    sides = [(line, side) for line in ("L2", "L3", "L1") for side in "SB"]
    one = allocated(*[(line, side, "1", "1.00") for line, side in sides])
    none = allocated()
    assert identities.misallocated(one, one).is_empty()
    for shares, executed in ((one, none), (none, one)):
        found = identities.misallocated(shares, executed)
        assert found.select("line_id", "side").rows() == sorted(sides)


EVENT = {
    "order_id": pl.String,
    "from_state": pl.String,
    "to_state": pl.String,
    "reason": pl.String,
    "sequence": pl.Int32,
}


def events(*moves: str, order: str = "o") -> pl.DataFrame:
    rows = [
        {
            "order_id": order,
            "from_state": m.split(">")[0],
            "to_state": m.split(">")[1].split(":")[0],
            "reason": m.split(":")[1] if ":" in m else None,
            "sequence": n,
        }
        for n, m in enumerate(moves)
    ]
    return frame(EVENT, rows)


@pytest.mark.parametrize(
    "moves",
    [
        ["received>accepted", "accepted>batched", "batched>placed"],
        ["received>rejected"],
        ["placed>unknown", "unknown>executed", "executed>settled"],
        ["received>accepted", "accepted>settled"],
        ["settled>executed:corrected", "executed>settled"],
        ["settled>part_executed:corrected"],
        ["rejected>executed:corrected"],
        ["executed>rejected:custodian_rejected"],
    ],
)
def test_lawful_histories_pass_identity_5(moves: list[str]) -> None:
    assert identities.illegal_transitions(events(*moves)).is_empty()


@pytest.mark.parametrize(
    "moves",
    [
        ["received>placed"],
        ["settled>placed"],
        # Only a correction leaves a terminal state, and it says so.
        ["settled>executed"],
        ["settled>executed:no_answer"],
        ["settled>placed:corrected"],
        ["rejected>accepted:corrected"],
        ["batched>cancelled"],  # sealed is sealed
        ["executed>settled", "executed>settled"],
        ["placed>rejected", "placed>executed", "executed>settled"],
        ["accepted>settled", "accepted>rejected"],
        # Each step is lawful by itself; the order is executed twice.
        ["placed>executed", "placed>executed"],
        ["accepted>batched", "accepted>batched"],
        ["received>accepted", "batched>placed"],
    ],
)
def test_identity_5_finds_unlawful_histories(moves: list[str]) -> None:
    assert not identities.illegal_transitions(events(*moves)).is_empty()


def test_identity_5_tells_every_end_of_an_order_that_ends_twice() -> None:
    """Each step is lawful and follows on, and yet the order ended twice in one run."""
    twice = ["executed>settled", "settled>executed:corrected", "executed>settled"]
    found = identities.illegal_transitions(events(*twice))
    assert found.rows() == [("o", "executed", "settled")]
    other = ["placed>rejected", "rejected>executed:corrected", "executed>settled"]
    found = identities.illegal_transitions(events(*other))
    assert found.rows() == [("o", "executed", "settled"), ("o", "placed", "rejected")]


def test_identity_5_follows_each_order_by_its_own_sequence() -> None:
    history = events("received>accepted", "accepted>batched", "batched>placed", "placed>executed")
    later = events("placed>unknown", "unknown>rejected", order="p")
    assert identities.illegal_transitions(pl.concat([later, history]).reverse()).is_empty()
    names = [f"o{n * 7 % 50:02}" for n in range(50)]
    wrong = pl.concat([events("received>placed", "placed>batched", order=n) for n in names])
    assert identities.illegal_transitions(wrong).rows() == [
        row
        for name in sorted(names)
        for row in ((name, "placed", "batched"), (name, "received", "placed"))
    ]


def test_identity_5_finds_an_order_in_two_batches() -> None:
    open_ = orders({"order_id": "old", "line_id": "L1"}, {"order_id": "waiting"})
    once = pl.DataFrame({"order_id": ["waiting", "new"]})
    assert identities.batched_twice(open_, once).is_empty()
    again = pl.DataFrame({"order_id": ["old", "new"]})
    assert identities.batched_twice(open_, again)["order_id"].to_list() == ["old"]
    double = pl.DataFrame({"order_id": ["new", "new"]})
    assert not identities.batched_twice(open_, double).is_empty()


@pytest.mark.parametrize(
    ("book", "account", "leaks"),
    [
        ("live", "custodian/CUST", False),
        ("canary", "custodian/CANARY", False),
        ("canary", "custodian/CUST", True),
        ("live", "custodian/CANARY", True),
        ("canary", "pot/C1", False),
    ],
)
def test_identity_6_finds_a_leak_either_way(book: str, account: str, leaks: bool) -> None:
    rows = balances({"book": book, "account": account, "asset_id": "A", "quantity": "-1"})
    assert ledger.leaked_quantities(rows).is_empty() != leaks


LINES = {
    "line_id": pl.String,
    "book": pl.String,
    "asset_id": pl.String,
    "quantity_type": pl.String,
    "gross_buys": pl.Decimal(28, 6),
    "gross_sells": pl.Decimal(28, 6),
    "crossed": pl.Decimal(28, 6),
    "net": pl.Decimal(28, 6),
    "side": pl.String,
    "order_count": pl.Int64,
}
MEMBERS = [
    {"order_id": "a", "side": "B", "quantity_type": "U", "units": "7"},
    {"order_id": "b", "side": "B", "quantity_type": "U", "units": "5"},
    {"order_id": "c", "side": "S", "quantity_type": "U", "units": "9"},
    {"order_id": "d", "side": "B", "quantity_type": "A", "amount": "3.50"},
]
NETTED = [
    {
        "line_id": "U",
        "book": "live",
        "asset_id": "A",
        "quantity_type": "U",
        "gross_buys": "12",
        "gross_sells": "9",
        "crossed": "9",
        "net": "3",
        "side": "B",
        "order_count": 3,
    },
    {
        "line_id": "A",
        "book": "live",
        "asset_id": "A",
        "quantity_type": "A",
        "gross_buys": "3.5",
        "gross_sells": "0",
        "crossed": "0",
        "net": "3.5",
        "side": "B",
        "order_count": 1,
    },
]


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, []),
        ({"gross_buys": "12.000001"}, ["U"]),
        ({"gross_sells": "8"}, ["U"]),
        # The line agrees with itself, and not with its orders.
        ({"gross_buys": "13", "net": "4"}, ["U"]),
        ({"gross_sells": "8", "crossed": "8", "net": "4"}, ["U"]),
        ({"crossed": "8", "net": "4"}, ["U"]),
        ({"net": "2"}, ["U"]),
        ({"order_count": 4}, ["U"]),
        ({"book": "canary"}, ["U", None]),
        # The other way round: the custodian would be told to sell what is to be bought.
        ({"side": "S"}, ["U"]),
        ({"side": ""}, ["U"]),
    ],
)
def test_netting_check_finds_a_changed_line(change: dict, broken: list) -> None:
    lines = frame(LINES, [NETTED[0] | change, NETTED[1]])
    found = identities.misnetted(lines, orders(*MEMBERS))["line_id"].to_list()
    assert sorted(found, key=str) == sorted(broken, key=str)


def test_netting_check_finds_a_missing_line_and_a_missing_order() -> None:
    missing = identities.misnetted(frame(LINES, NETTED[:1]), orders(*MEMBERS))
    assert missing.rows() == [(None, "live", "A", "A")]
    empty = identities.misnetted(frame(LINES, NETTED), orders(*MEMBERS[:3]))
    assert empty.rows() == [("A", "live", "A", "A")]


@pytest.mark.parametrize(("side", "right"), [("", True), ("B", False), ("S", False)])
def test_a_line_that_crosses_whole_has_no_side(side: str, right: bool) -> None:
    whole = NETTED[0] | {"gross_buys": "9", "net": "0", "side": side, "order_count": 2}
    members = [MEMBERS[2], MEMBERS[2] | {"order_id": "e", "side": "B"}]
    assert identities.misnetted(frame(LINES, [whole]), orders(*members)).is_empty() == right


def test_what_netting_breaks_is_told_by_book_asset_and_quantity_type() -> None:
    keys = [(b, a, k) for b in ("live", "canary") for a in "CAB" for k in "UA"]
    rows = [
        NETTED[0] | dict(zip(("book", "asset_id", "quantity_type"), k, strict=True)) for k in keys
    ]
    found = identities.misnetted(frame(LINES, rows), orders())
    assert found.drop("line_id").rows() == sorted(keys)


def test_fold_adds_drops_zeros_and_sorts() -> None:
    before = balances(
        {"account": "pot/P2", "asset_id": "A", "quantity": "5"},
        {"account": "pot/P1", "asset_id": "A", "quantity": "5"},
    )
    moved = postings(
        {"account": "pot/P1", "asset_id": "A", "quantity": "-5"},
        {"account": "pot/P1", "asset_id": "A", "quantity": "2", "state": "reserved"},
        {"account": "pot/P2", "asset_id": "A", "quantity": "0.000001"},
    )
    assert ledger.fold(before, moved).select("account", "state", "quantity").rows() == [
        ("pot/P1", "reserved", Decimal(2)),
        ("pot/P2", "settled", Decimal("5.000001")),
    ]
    assert ledger.fold(balances(), postings()).is_empty()


def test_posting_sums_equal_keys_and_writes_no_zero() -> None:
    rows = pl.DataFrame(
        {"book": ["live"], "journal_id": ["J"], "effective_date": [P], "pot_id": ["P1"], "n": [5]},
        schema_overrides={"n": pl.Int128},
    )
    n, pot, asset = pl.col("n"), ledger.pot_account(), pl.lit("A")
    legs = [
        ledger.Leg(pot, "settled", asset, n),
        ledger.Leg(pot, "settled", asset, 2 * n),
        ledger.Leg(pot, "reserved", asset, n),
        ledger.Leg(pot, "reserved", asset, -1 * n),
        ledger.Leg(ledger.custodian_account(pl.lit("C")), "settled", asset, 0 * n),
    ]
    for count in (5, 1):
        found = ledger.post(rows.with_columns(pl.lit(count, dtype=pl.Int128).alias("n")), legs)
        assert found.select("account", "state", "quantity").rows() == [
            ("pot/P1", "settled", Decimal(3 * count).scaleb(-6)),
        ]
    assert ledger.post(rows.clear(), legs).is_empty()
    assert ledger.post(rows, []).is_empty()
