"""The custodians' answers and books over June 2020."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from outbox_stub import FIRST, LAST, all_rows, dispatch, put, rows_of

from simulator.files import CASH_COLUMNS, INSTRUCTION_COLUMNS, OutboxError
from simulator.scheme import ASSETS
from simulator.statements import statement_rows
from simulator.vendor import Vendor
from simulator.world import World

CENT, UNIT = Decimal("0.01"), Decimal("0.0001")
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def instructions(june: Path) -> dict[str, dict[str, str]]:
    """Every instruction of the month, by id."""
    paths = sorted((june / "outbox").glob("*/*/instructions.csv"))
    return {row["instruction_id"]: row for path in paths for row in rows_of(path)}


@pytest.fixture(scope="module")
def events(june: Path) -> Rows:
    """Every confirmation of the month."""
    return list(all_rows(june, "confirmations"))


def _by_instruction(events: Rows, kind: str) -> dict[str, Rows]:
    grouped: dict[str, Rows] = defaultdict(list)
    for row in events:
        if row["event"] == kind:
            grouped[row["instruction_id"]].append(row)
    return grouped


def _number(text: str) -> Decimal:
    return Decimal(text or "0")


def _sum(rows: Rows, field: str) -> Decimal:
    return sum((_number(row[field]) for row in rows), Decimal(0))


def test_confirmations_are_unique_and_arrive_with_their_date(june: Path, events: Rows) -> None:
    assert len({row["confirmation_id"] for row in events}) == len(events)
    for path in (june / "inbox" / "confirmations").glob("*.csv"):
        assert {row["event_date"] for row in rows_of(path)} == {path.stem[-10:]}


def test_parts_sum_to_the_instruction_at_the_true_price(
    instructions: dict[str, dict[str, str]], events: Rows
) -> None:
    vendor = Vendor()
    answered = _by_instruction(events, "executed")
    for key, instruction in instructions.items():
        if key not in answered or instruction["dealing_date"] >= "2020-06-26":
            continue
        day, parts = date.fromisoformat(instruction["dealing_date"]), answered[key]
        price = Decimal(vendor.price_text(day, instruction["asset_id"]))
        assert {Decimal(part["price"]) for part in parts} == {price}
        assert {part["event_date"] for part in parts} <= {
            str(day),
            str(vendor.calendar.next(day)),
        }
        if instruction["quantity_type"] == "U":
            assert _sum(parts, "units") == Decimal(instruction["units"])
            for part in parts:
                exact = Decimal(part["units"]) * price
                assert Decimal(part["consideration"]) == exact.quantize(CENT, ROUND_HALF_EVEN)
        else:
            amount = Decimal(instruction["amount"])
            assert _sum(parts, "consideration") == amount
            assert _sum(parts, "units") == (amount / price).quantize(UNIT, ROUND_DOWN)


def test_every_instruction_is_answered_on_its_date(
    instructions: dict[str, dict[str, str]], events: Rows
) -> None:
    for key, instruction in instructions.items():
        if instruction["dealing_date"] < str(LAST):
            answers = [row for row in events if row["instruction_id"] == key]
            assert answers
            kinds = {row["event"] for row in answers}
            assert kinds <= {"executed", "settled"} or kinds == {"rejected"}
            if kinds == {"rejected"}:
                (only,) = answers
                rest = _number(only["units"]) + _number(only["consideration"])
                assert rest == _number(instruction["units"]) + _number(instruction["amount"])


def test_what_is_settled_is_what_was_confirmed(
    instructions: dict[str, dict[str, str]], events: Rows
) -> None:
    vendor = Vendor()
    executed, settled = _by_instruction(events, "executed"), _by_instruction(events, "settled")
    assert {len(rows) for rows in settled.values()} > {1}
    for key, rows in settled.items():
        day = date.fromisoformat(instructions[key]["dealing_date"])
        days = 1 if instructions[key]["custodian_id"] == "NORTH" else 2
        assert {row["event_date"] for row in rows} == {str(vendor.calendar.step(day, days))}
        for field in ("units", "consideration"):
            assert _sum(rows, field) == _sum(executed[key], field)


def _books(
    june: Path, instructions: dict[str, dict[str, str]], events: Rows
) -> dict[tuple[str, str], Decimal]:
    """Recomputed by date and asset: opening, cash movements, settlements."""
    books: dict[str, Decimal] = defaultdict(Decimal)
    for row in all_rows(june, "opening_positions"):
        books[row["asset_id"]] += Decimal(row["units"])
    days = World(june, 7, 300, FIRST, LAST).business_dates()
    found = {("2020-05-29", asset): units for asset, units in books.items()}
    for day in days[:-1]:
        for row in rows_of(june / "outbox" / "NORTH" / str(day) / "cash.csv"):
            books["USD"] += Decimal(row["amount"]) * (1 if row["direction"] == "IN" else -1)
        for row in events:
            if row["event"] == "settled" and row["event_date"] == str(day):
                instruction = instructions[row["instruction_id"]]
                sign = 1 if instruction["side"] == "B" else -1
                books[instruction["asset_id"]] += sign * Decimal(row["units"])
                books["USD"] -= sign * Decimal(row["consideration"])
        found.update({(str(day), asset): units for asset, units in books.items()})
    return found


def test_statements_show_opening_plus_settled_but_for_the_planted_errors(
    june: Path, instructions: dict[str, dict[str, str]], events: Rows
) -> None:
    books = _books(june, instructions, events)
    stated = {
        (row["statement_date"], row["asset_id"]): Decimal(row["units"])
        for row in all_rows(june, "statements")
    }
    assert stated.keys() == books.keys()
    wrong = {key: stated[key] - books[key] for key in books if stated[key] != books[key]}
    assert {abs(difference) for difference in wrong.values()} == {Decimal("1.25")}
    assert len(wrong) == 2
    assert {key[1] for key in wrong}.isdisjoint({"USD"})


def test_statements_have_unique_ids_and_whole_pages(june: Path) -> None:
    ids, paged = set(), set()
    for path in (june / "inbox" / "statements").glob("*.csv"):
        rows = rows_of(path)
        (statement_id,) = {row["statement_id"] for row in rows}
        assert statement_id not in ids
        ids.add(statement_id)
        (pages,) = {int(row["pages"]) for row in rows}
        assert {int(row["page"]) for row in rows} == set(range(1, pages + 1))
        assert {row["basis"] for row in rows} == {"settled"}
        paged.add(pages)
    assert paged == {1, 2}


def test_june_has_the_planted_events(
    june: Path, events: Rows, make_world: Callable[..., World], tmp_path: Path
) -> None:
    parts = [rows for rows in _by_instruction(events, "executed").values() if len(rows) > 1]
    assert len(parts) >= 8
    assert {len(rows) for rows in parts} == {2, 3}
    assert len(_by_instruction(events, "rejected")) >= 2
    world = make_world()
    late = []
    for day in world.business_dates():
        for path in world.before(day):
            behind = path.stem[-10:] < str(Vendor().calendar.prev(day))
            late += [path.name] if path.parent.name == "statements" and behind else []
        dispatch(tmp_path, day)
    assert len(late) == 2
    assert set(late) <= {path.name for path in june.rglob("statements_*")}


def test_nothing_held_is_one_row_without_an_asset() -> None:
    (row,) = statement_rows(1, "SOUTH", FIRST, dict.fromkeys(ASSETS, 0), wrong=True)
    assert row[-4:] == ("1", "1", "", "")


def test_a_tiny_instruction_is_never_split_into_nothing(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    world = make_world()
    for day in world.business_dates()[:-1]:
        for custodian_id, asset_id in (("NORTH", "TSP-G"), ("SOUTH", "TSP-C")):
            batch = f"B-{day}-live"
            rows = [
                [f"{batch}-{custodian_id}-{asset_id}-B-{kind}", batch, str(day), custodian_id,
                 asset_id, "B", kind, units, amount, "USD"]
                for kind, units, amount in (("A", "", "0.01"), ("U", "0.0003", ""))
            ]  # fmt: skip
            folder = tmp_path / "outbox" / custodian_id / str(day)
            put(folder / "instructions.csv", INSTRUCTION_COLUMNS, rows)
        put(tmp_path / "outbox" / "NORTH" / str(day) / "cash.csv", CASH_COLUMNS, [])
    for day in world.business_dates():
        world.custodians_before(day)
    executed = [row for row in all_rows(tmp_path, "confirmations") if row["event"] == "executed"]
    assert executed
    assert all(Decimal(row["units"]) > 0 for row in executed)


def test_a_date_not_dispatched_is_named(make_world: Callable[..., World], tmp_path: Path) -> None:
    world = make_world()
    world.before(FIRST)
    with pytest.raises(OutboxError, match="2020-06-01 was not dispatched"):
        world.before(date(2020, 6, 2))
    assert not list(tmp_path.rglob("*_2020-06-02.csv"))
    dispatch(tmp_path, FIRST)
    assert world.before(date(2020, 6, 2))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("units", "1.00001", "units: expected a positive number of 4 decimals, got '1.00001'"),
        ("units", "-1.0000", "units: expected a positive number"),
        ("amount", "5.00", "amount: expected '', got '5.00'"),
        ("asset_id", "TSP-C", "asset_id: expected 'TSP-G' or 'TSP-F' or 'USD', got 'TSP-C'"),
        ("dealing_date", "2020-06-02", "dealing_date: expected '2020-06-01'"),
    ],
)
def test_a_bad_instruction_is_told_by_row_and_field(
    make_world: Callable[..., World], tmp_path: Path, field: str, value: str, message: str
) -> None:
    dispatch(tmp_path, FIRST)
    path = tmp_path / "outbox" / "NORTH" / str(FIRST) / "instructions.csv"
    rows = rows_of(path)
    row = next(row for row in rows if row["quantity_type"] == "U")
    row[field] = value
    put(path, INSTRUCTION_COLUMNS, [list(row.values()) for row in rows])
    with pytest.raises(OutboxError, match=r"instructions\.csv: row ") as caught:
        make_world().before(date(2020, 6, 2))
    assert message in str(caught.value)


def test_a_damaged_file_is_not_read(make_world: Callable[..., World], tmp_path: Path) -> None:
    dispatch(tmp_path, FIRST)
    path = tmp_path / "outbox" / "NORTH" / str(FIRST) / "cash.csv"
    path.write_bytes(path.read_bytes().replace(b".07", b".08", 1))
    with pytest.raises(OutboxError, match="expected SHA-256"):
        make_world().before(date(2020, 6, 2))
