"""Files in and out: CSV dropped whole into the inbox, CSV read from the outbox once verified."""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from simulator.scheme import Row

COLUMNS = {
    "holidays": "calendar_id,holiday,name",
    "assets": "asset_id,name,currency,custodian_id,calendar_id,unit_decimals,settlement_days,"
    "stress,price_limit,valid_from",
    "risk_profiles": "risk_profile_id,asset_id,weight,valid_from",
    "risk_profile_parameters": "risk_profile_id,drift_band,cash_band,min_trade,schedule,valid_from",
    "pots": "pot_id,member_ref,risk_profile_id,book,opened_on",
    "opening_positions": "as_of,pot_id,asset_id,units",
    "closing_prices": "price_date,asset_id,currency,closing_price",
    "orders": "source,source_ref,received_at,pot_id,kind,asset_id,to_asset_id,units,amount,"
    "risk_profile_id",
    "confirmations": "confirmation_id,instruction_id,event,event_date,units,price,"
    "consideration,settlement_date,amends",
    "statements": "statement_id,custodian_id,statement_date,basis,page,pages,asset_id,units",
    "journal_sources": "source,kind,valid_from,valid_to,owner",
    "charge_rates": "asset_id,valid_from,annual_rate_bp",
    "custodian_fee_rates": "custodian_id,valid_from,annual_rate_bp",
    "contribution_schedules": "employer,pot_id,due_date,amount",
    "income_announcements": "announcement_id,asset_id,ex_date,pay_date,amount_per_unit,total",
    "switch_campaigns": "campaign_id,from_asset_id,to_asset_id,risk_profile_id,deal_date,status",
}
INSTRUCTION_COLUMNS = (
    "instruction_id,batch_id,dealing_date,custodian_id,asset_id,side,quantity_type,units,amount,"
    "currency"
)
CASH_COLUMNS = "movement_id,value_date,direction,amount,currency"

_CHUNK_ROWS = 8192


class OutboxError(Exception):
    """A file of the outbox is missing, damaged or not what was agreed; the message says where."""


class Inbox:
    """Drops files into ``<home>/inbox/<feed>/``.

    A file appears whole, by rename, after its ``.sha256``. With ``shuffle`` the data rows of
    every file are permuted by that number and the file's name; their content is the same.
    """

    def __init__(self, home: Path, shuffle: int | None = None) -> None:
        self._folder = home / "inbox"
        self._shuffle = shuffle

    def drop(self, feed: str, name: str, rows: Iterable[Row]) -> Path | None:
        """Writes ``rows`` under the header of ``feed``; no file where there is no row.

        Without rows two days' files would be the same bytes, which mean nothing new.
        """
        iterator = iter(self.permuted(feed, name, rows))
        head = next(iterator, None)
        if head is None:
            return None
        folder = self._folder / feed
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{name}.part"
        try:
            digest = _write(part, chain((COLUMNS[feed].split(","), head), iterator))
            _replace(folder / f"{name}.sha256", f"{digest}  {name}\n")
            part.replace(folder / name)
        finally:
            part.unlink(missing_ok=True)
        return folder / name

    def permuted(self, feed: str, name: str, rows: Iterable[Row]) -> Iterable[Row]:
        """The rows of a file in the order of this inbox."""
        if self._shuffle is None:
            return rows
        permuted = list(rows)
        random.Random(f"{self._shuffle}|{feed}|{name}").shuffle(permuted)  # noqa: S311
        return permuted


def _write(path: Path, rows: Iterator[Sequence[str]]) -> str:
    """Writes CSV rows in chunks; returns the SHA-256 of the bytes."""
    sha256 = hashlib.sha256()
    with path.open("wb") as file:
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="\n").writerows(chunk)
            data = buffer.getvalue().encode()
            sha256.update(data)
            file.write(data)
    return sha256.hexdigest()


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(text.encode())
    part.replace(path)


def read_verified(path: Path, columns: str) -> list[dict[str, str]]:
    """The rows of an outbox file, by column, once its bytes agree with its ``.sha256``.

    Raises ``OutboxError``: file or ``.sha256`` missing, other bytes, other header, ragged row.
    """
    try:
        data = path.read_bytes()
        told = path.with_name(f"{path.name}.sha256").read_text(encoding="utf-8").split()
    except FileNotFoundError as error:
        msg = f"{error.filename}: missing; the run of {path.parent.name} was not dispatched"
        raise OutboxError(msg) from error
    found = hashlib.sha256(data).hexdigest()
    if told[:1] != [found]:
        msg = f"{path}: expected SHA-256 {' '.join(told[:1]) or '(none)'}, got {found}"
        raise OutboxError(msg)
    header, *rows = list(csv.reader(io.StringIO(data.decode(), newline=""))) or [[]]
    if header != columns.split(","):
        msg = f"{path}: expected the header {columns}, got {','.join(header)}"
        raise OutboxError(msg)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            msg = f"{path}: row {number}: expected {len(header)} fields, got {len(row)}"
            raise OutboxError(msg)
    return [dict(zip(header, row, strict=True)) for row in rows]
