"""What a custodian reads: instructions and cash movements of one dealing date, checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NoReturn

from simulator.files import CASH_COLUMNS, INSTRUCTION_COLUMNS, OutboxError, read_verified
from simulator.scheme import ASSETS, CASH_CUSTODIAN, CURRENCY, minor


@dataclass(frozen=True, slots=True)
class Instruction:
    """One row of ``instructions.csv``; ``quantity`` in minor units of the asset or in cents."""

    instruction_id: str
    dealing_date: date
    asset_id: str
    side: str
    quantity_type: str
    quantity: int


def read_instructions(outbox: Path, custodian_id: str, day: date) -> list[Instruction]:
    """The instructions to one custodian for dealing date ``day``, by ``instruction_id``.

    Raises ``OutboxError`` naming file, row and field, expected and got.
    """
    path = outbox / custodian_id / day.isoformat() / "instructions.csv"
    found: dict[str, Instruction] = {}
    for number, row in enumerate(read_verified(path, INSTRUCTION_COLUMNS), start=1):
        known = [a.asset_id for a in ASSETS.values() if a.custodian_id == custodian_id]
        _expect(path, number, row, "dealing_date", (day.isoformat(),))
        _expect(path, number, row, "custodian_id", (custodian_id,))
        _expect(path, number, row, "asset_id", known)
        _expect(path, number, row, "side", ("B", "S"))
        _expect(path, number, row, "quantity_type", ("U", "A"))
        _expect(path, number, row, "currency", (CURRENCY,))
        instruction_id = row["instruction_id"]
        if instruction_id in found:
            _fail(path, number, "instruction_id", "one row per instruction", instruction_id)
        used, unused = ("units", "amount") if row["quantity_type"] == "U" else ("amount", "units")
        _expect(path, number, row, unused, ("",))
        denominated = row["asset_id"] if used == "units" else CURRENCY
        found[instruction_id] = Instruction(
            instruction_id=instruction_id,
            dealing_date=day,
            asset_id=row["asset_id"],
            side=row["side"],
            quantity_type=row["quantity_type"],
            quantity=_positive(path, number, row, used, denominated),
        )
    return [found[key] for key in sorted(found)]


def read_cash(outbox: Path, day: date) -> int:
    """Money in less money out of value date ``day``, in cents.

    Raises ``OutboxError`` naming file, row and field, expected and got.
    """
    path = outbox / CASH_CUSTODIAN / day.isoformat() / "cash.csv"
    seen: set[str] = set()
    total = 0
    for number, row in enumerate(read_verified(path, CASH_COLUMNS), start=1):
        _expect(path, number, row, "value_date", (day.isoformat(),))
        _expect(path, number, row, "direction", ("IN", "OUT"))
        _expect(path, number, row, "currency", (CURRENCY,))
        if row["movement_id"] in seen:
            _fail(path, number, "movement_id", "one row per movement", row["movement_id"])
        seen.add(row["movement_id"])
        amount = _positive(path, number, row, "amount", CURRENCY)
        total += amount if row["direction"] == "IN" else -amount
    return total


def _expect(
    path: Path, number: int, row: dict[str, str], field: str, allowed: tuple[str, ...] | list[str]
) -> None:
    if row[field] not in allowed:
        _fail(path, number, field, " or ".join(map(repr, allowed)), row[field])


def _positive(path: Path, number: int, row: dict[str, str], field: str, asset_id: str) -> int:
    try:
        quantity = minor(row[field], asset_id)
    except ValueError:
        quantity = 0
    if quantity <= 0:
        decimals = ASSETS[asset_id].unit_decimals
        _fail(path, number, field, f"a positive number of {decimals} decimals", row[field])
    return quantity


def _fail(path: Path, number: int, field: str, expected: str, got: str) -> NoReturn:
    msg = f"{path}: row {number}: {field}: expected {expected}, got {got!r}"
    raise OutboxError(msg)
