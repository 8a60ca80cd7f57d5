"""Where a figure comes from: balance → postings → journals → orders, batches, files and their rows.

Everything is read from published dates by predicate, never a whole table; a sum is checked against
the figure it explains, and a landed file against its SHA-256. The result is a tree of `Node`s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb

from acme.domain import quantities
from acme.evidence import times
from acme.evidence.origins import Origins
from acme.evidence.sealed import batch_proof
from acme.lakehouse.platform import Platform

Row = dict[str, Any]
# What the ledger's accounts begin with.
ACCOUNTS = ("pot/", "custodian/", "suspense/")
# Evidence of an order, by the table it is in, oldest run first.
_BY_ORDER = {
    "orders": "SELECT o.* FROM lake.core.orders AS o JOIN wanted USING (order_id)",
    "open": (
        "SELECT o.* FROM lake.stage.rebalanced_orders AS o JOIN wanted USING (order_id)"
        " QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY o.run_date) = 1"
    ),
    "events": "SELECT e.* FROM lake.core.order_events AS e JOIN wanted USING (order_id)",
    "batched": "SELECT b.* FROM lake.stage.batched_orders AS b JOIN wanted USING (order_id)",
    "placed": (
        "SELECT DISTINCT o.order_id, o.line_id, CAST(NULL AS DATE) AS run_date"
        " FROM lake.stage.open_orders AS o JOIN wanted USING (order_id)"
        " WHERE o.line_id IS NOT NULL"
    ),
    "allocations": "SELECT a.* FROM lake.core.allocations AS a JOIN wanted USING (order_id)",
    "cash": (
        "SELECT c.*, c.movement_id AS order_id FROM lake.core.cash_movements AS c"
        " JOIN wanted ON wanted.order_id = c.movement_id"
    ),
    "decisions": (
        "SELECT t.order_id, d.*, b.price_date FROM lake.core.rebalancing_trades AS t"
        " JOIN wanted USING (order_id) JOIN lake.core.rebalancing_decisions AS d"
        " ON d.run_date = t.run_date AND d.book = t.book AND d.pot_id = t.pot_id"
        " AND d.asset_id = t.asset_id"
        " JOIN lake.core.dealing_batches AS b ON b.run_date = d.run_date AND b.book = d.book"
    ),
}


# Of a price the file that landed last counts, if its rows agree (`acme.evidence.times`).
_PRICE = """
SELECT c.* FROM lake.core.closing_prices AS c
JOIN lake.core.run_inputs AS i
    ON i.run_date = c.run_date AND i.file_sha256 = c.file_sha256 AND i.feed = 'closing_prices'
WHERE c.asset_id = ? AND c.price_date = ? AND c.run_date <= ?
QUALIFY dense_rank() OVER (ORDER BY c.run_date DESC, i.sequence DESC) = 1"""


class NothingToExplainError(Exception):
    """No published date knows what was asked for."""


@dataclass
class Node:
    """One thing of an explanation: what it is, its facts, and what it follows from."""

    what: str
    title: str
    facts: dict[str, object] = field(default_factory=dict)
    because: list[Node] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the node and everything below it as JSON values."""
        return {
            "what": self.what,
            "title": self.title,
            **{k: v for k, v in self.facts.items() if v is not None},
            "because": [node.as_json() for node in self.because],
        }

    def holds(self) -> bool:
        """Say whether every check on the way was passed."""
        return self.facts.get("proven") is not False and all(n.holds() for n in self.because)


class Books:
    """Reads what an explanation needs, as known when a date was published."""

    def __init__(
        self, platform: Platform, connection: duckdb.DuckDBPyConnection, run: times.KnownRun
    ) -> None:
        """Keep the connection; `run` is the newest published date that counts."""
        self.platform = platform
        self.connection = connection
        self.run = run
        self.origins = Origins(platform, self.rows)
        self._told: dict[str, str] = {}
        self._prices: dict[tuple[str, date, date], list[Node]] = {}

    def rows(self, text: str, values: Sequence[object] = ()) -> list[Row]:
        """Return a query's rows by column name."""
        result = self.connection.execute(text, list(values))
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    # ---- orders ---------------------------------------------------------------------------------

    def orders(self, ids: Iterable[str]) -> dict[str, Node]:
        """Return the story of each order: its file, its batch, its line, what was confirmed."""
        wanted = sorted(set(ids))
        if not wanted:
            return {}
        self.connection.execute("CREATE OR REPLACE TEMP TABLE wanted (order_id VARCHAR)")
        self.connection.execute("INSERT INTO wanted SELECT unnest(?)", [wanted])
        found = {
            name: _grouped(self.rows(f"{text} ORDER BY ALL"), "order_id")
            for name, text in _BY_ORDER.items()
        }
        lines = {r["line_id"] for rows in found["allocations"].values() for r in rows}
        lines |= {r["line_id"] for rows in found["placed"].values() for r in rows}
        batches = {r["batch_id"] for rows in found["batched"].values() for r in rows}
        told_lines = self.lines(lines)
        told_batches = self._batches(batches)
        leaves = self._leaves(batches, wanted)
        return {
            order: self._order(
                order,
                {n: rows.get(order, []) for n, rows in found.items()},
                told_lines,
                told_batches,
                leaves,
            )
            for order in wanted
        }

    def _order(
        self,
        order: str,
        found: dict[str, list[Row]],
        lines: dict[str, Node],
        batches: dict[str, Row],
        leaves: dict[str, tuple[int, int]],
    ) -> Node:
        row = (found["orders"] or found["open"] or [{}])[0]
        asked = [row.get("kind"), row.get("side"), _plain(row.get("units") or row.get("amount"))]
        said = " ".join(str(x) for x in [*asked, row.get("asset_id")] if x is not None)
        node = Node(
            "order",
            f"order {order}: {row.get('source')} {row.get('source_ref')}: {said}",
            {
                "order_id": order,
                **{
                    name: _text(row.get(name))
                    for name in (
                        "book",
                        "source",
                        "source_ref",
                        "kind",
                        "pot_id",
                        "asset_id",
                        "to_asset_id",
                        "side",
                        "units",
                        "amount",
                        "received_at",
                        "dealing_date",
                    )
                },
            },
        )
        if found["orders"]:
            node.because.append(_file(self.origins.row(row["file_sha256"], row["row"])))
        if row.get("source") == "switch":
            node.because.append(
                Node(
                    "order", f"made by the switch {row['source_ref']}", {"sale": row["source_ref"]}
                )
            )
        node.because += [
            Node(
                "rebalancing_decision",
                f"re-balancing in run {r['run_date']}: {r['outcome']}, off by"
                f" {_plain(r['delta_units'])} units, trades {_plain(r['trade_units'])}",
                _facts(r, "run_date", "outcome", "delta_units", "trade_units"),
                self._price(r["asset_id"], r["price_date"], r["run_date"]),
            )
            for r in found["decisions"]
        ]
        node.because += [
            Node(
                "state",
                f"{r['from_state']} → {r['to_state']} in run {r['run_date']} ({r['stage']})"
                + (f": {r['reason']}" if r["reason"] else ""),
                _facts(r, "run_date", "from_state", "to_state", "reason", "event_time", "stage"),
            )
            for r in found["events"]
        ]
        for r in found["batched"]:
            batch, (index, size) = batches[r["batch_id"]], leaves[order]
            node.because.append(
                Node(
                    "batch",
                    f"batch {r['batch_id']}: leaf {index} of {size}, seal {batch['seal']}",
                    {
                        "batch_id": r["batch_id"],
                        "leaf_index": index,
                        "leaves": size,
                        "seal": batch["seal"],
                        "merkle_root": batch["merkle_root"],
                    },
                )
            )
        line_ids = [r["line_id"] for r in (*found["placed"], *found["allocations"])]
        node.because += [lines[i] for i in dict.fromkeys(line_ids) if i in lines]
        node.because += [
            Node(
                "allocation",
                f"allocated in run {r['run_date']}: {_plain(r['units'])} units for"
                f" {_plain(r['consideration'])} by journal {r['journal_id']}",
                _facts(
                    r,
                    "run_date",
                    "allocation_id",
                    "line_id",
                    "side",
                    "units",
                    "consideration",
                    "journal_id",
                    "effective_date",
                ),
                self._crossed(r, lines.get(r["line_id"])),
            )
            for r in found["allocations"]
        ]
        node.because += [
            Node(
                "cash_movement",
                f"cash {r['direction']} {_plain(r['amount'])} {r['currency']} on {r['value_date']}"
                f" at {r['custodian_id']}",
                _facts(r, "run_date", "direction", "amount", "value_date", "custodian_id"),
            )
            for r in found["cash"]
        ]
        return node

    def _crossed(self, allocation: Row, line: Node | None) -> list[Node]:
        """Return at what price a line's crossed units were booked; none where it crossed none."""
        crossed = Decimal(0 if line is None else str(line.facts["crossed"]))
        if not crossed:
            return []
        asset, dealt = allocation["asset_id"], allocation["effective_date"]
        return [
            _crossing(allocation["line_id"], crossed, price)
            for price in self._price(asset, dealt, allocation["run_date"])
        ]

    def _price(self, asset: str, price_date: date, run_date: date) -> list[Node]:
        """Return the accepted closing price of an asset as a run knew it, with its file and row."""
        key = (asset, price_date, run_date)
        if key not in self._prices:
            rows = self.rows(_PRICE, [asset, price_date, run_date])
            self._prices[key] = [self._price_node(r) for r in rows if r["status"] == "accepted"]
        return self._prices[key]

    def _price_node(self, r: Row) -> Node:
        key = {"price_date": str(r["price_date"]), "asset_id": r["asset_id"]}
        return Node(
            "closing_price",
            f"closing price of {r['asset_id']} on {r['price_date']}: {_plain(r['closing_price'])},"
            f" known in run {r['run_date']}",
            _facts(r, "asset_id", "price_date", "closing_price", "run_date"),
            [_file(self.origins.keyed("closing_prices", r["file_sha256"], key))],
        )

    def _batches(self, ids: Iterable[str]) -> dict[str, Row]:
        rows = self.rows(
            "SELECT * FROM lake.core.dealing_batches WHERE batch_id IN (SELECT unnest(?))",
            [sorted(ids)],
        )
        return {r["batch_id"]: r for r in rows}

    def _leaves(self, batches: set[str], orders: list[str]) -> dict[str, tuple[int, int]]:
        """Return order → (index of its leaf, number of leaves); leaves go by order_id."""
        rows = self.rows(
            "SELECT order_id, leaf, leaves FROM (SELECT order_id, row_number() OVER"
            " (PARTITION BY batch_id ORDER BY order_id) - 1 AS leaf, count(*) OVER"
            " (PARTITION BY batch_id) AS leaves FROM lake.stage.batched_orders"
            " WHERE batch_id IN (SELECT unnest(?))) WHERE order_id IN (SELECT unnest(?))",
            [sorted(batches), orders],
        )
        return {r["order_id"]: (r["leaf"], r["leaves"]) for r in rows}

    # ---- lines ----------------------------------------------------------------------------------

    def lines(self, ids: Iterable[str]) -> dict[str, Node]:
        """Return each line with its instruction and what the custodian said of it."""
        wanted = sorted(set(ids))
        rows = self.rows(
            "SELECT * FROM lake.core.batch_lines WHERE line_id IN (SELECT unnest(?))"
            " ORDER BY line_id",
            [wanted],
        )
        told = self.confirmations([r["instruction_id"] for r in rows if r["instruction_id"]])
        return {
            r["line_id"]: Node(
                "line",
                f"line {r['line_id']}: buys {_plain(r['gross_buys'])}, sells"
                f" {_plain(r['gross_sells'])}, crossed {_plain(r['crossed'])}, net"
                f" {_plain(r['net'])} {r['side']}".rstrip(),
                _facts(
                    r,
                    "run_date",
                    "batch_id",
                    "line_id",
                    "custodian_id",
                    "asset_id",
                    "gross_buys",
                    "gross_sells",
                    "crossed",
                    "net",
                    "side",
                    "instruction_id",
                    "settlement_date",
                    "order_count",
                ),
                told.get(r["instruction_id"], []),
            )
            for r in rows
        }

    def confirmations(self, instructions: list[str]) -> dict[str, list[Node]]:
        """Return what custodians confirmed of instructions, each with its file and row."""
        rows = self.rows(
            "SELECT * FROM lake.core.confirmations WHERE instruction_id IN (SELECT unnest(?))"
            " ORDER BY run_date, event_date, confirmation_id",
            [sorted(set(instructions))],
        )
        told: dict[str, list[Node]] = defaultdict(list)
        for r in rows:
            quantity = "" if r["units"] is None else f" {_plain(r['units'])} units"
            price = "" if r["price"] is None else f" at {_plain(r['price'])}"
            money = "" if r["consideration"] is None else f" for {_plain(r['consideration'])}"
            amends = "" if r["amends"] is None else f", amends {r['amends']}"
            told[r["instruction_id"]].append(
                Node(
                    "confirmation",
                    f"confirmation {r['confirmation_id']}: {r['event']}{quantity}{price}{money} on"
                    f" {r['event_date']}, known in run {r['run_date']}{amends}",
                    _facts(
                        r,
                        "run_date",
                        "confirmation_id",
                        "instruction_id",
                        "event",
                        "event_date",
                        "units",
                        "price",
                        "consideration",
                        "amends",
                    ),
                    [
                        _file(
                            self.origins.keyed(
                                "confirmations",
                                r["file_sha256"],
                                {"confirmation_id": r["confirmation_id"]},
                            )
                        )
                    ],
                )
            )
        return told

    # ---- journals -------------------------------------------------------------------------------

    def requests(self, journals: Iterable[str]) -> dict[str, list[Row]]:
        """Return the lines by which other processes asked for those of the journals they did."""
        lines = self.rows(
            "SELECT q.run_date, q.journal_id, q.source, q.journal_ref, q.kind, q.description,"
            " q.event_time, l.line, l.account, l.asset_id, l.file_sha256, l.row"
            " FROM lake.core.journal_requests AS q JOIN lake.stage.landed_journals AS l"
            " ON l.run_date = q.run_date AND l.request_id = q.request_id"
            " WHERE q.journal_id IN (SELECT unnest(?)) ORDER BY q.journal_id, l.line",
            [sorted(set(journals))],
        )
        return _grouped(lines, "journal_id")

    def journal(
        self, row: Row, orders: dict[str, Node], requests: dict[str, list[Row]]
    ) -> list[Node]:
        """Return what a journal follows from; an order is told once, then referred to."""
        told = []
        asked = requests.get(row["journal_id"])
        if asked:
            told.append(self._request(row, asked))
        if row["reverses"]:
            told.append(
                Node(
                    "reversal",
                    f"reverses journal {row['reverses']}",
                    {"reverses": row["reverses"]},
                )
            )
        if row.get("reversed_by"):
            told.append(
                Node(
                    "reversal",
                    f"reversed by journal {row['reversed_by']}",
                    {"reversed_by": row["reversed_by"]},
                )
            )
        if row["kind"] == "opening":
            _, as_of, pot, asset = row["journal_id"].split(":", 3)
            told.append(_file(self.origins.opening(as_of, pot, asset)))
        order = row["order_id"]
        if order in orders:
            if order in self._told:
                told.append(Node("order", f"order {order}, told above", {"order_id": order}))
            else:
                self._told[order] = row["journal_id"]
                told.append(orders[order])
        return told

    def _request(self, row: Row, lines: list[Row]) -> Node:
        """Return who asked for a journal; a posting is shown by its own lines of the file."""
        first = lines[0]
        said = "" if first["description"] is None else f": {first['description']}"
        return Node(
            "journal_request",
            f"asked for by {first['source']} as {first['journal_ref']}{said}",
            _facts(first, "source", "journal_ref", "kind", "description", "event_time", "run_date"),
            [
                _file(self.origins.row(r["file_sha256"], r["row"]))
                for r in lines
                # A reversal names no account: its one line is about all of its postings.
                if r["account"] in {None, row["account"]}
                and r["asset_id"] in {None, row["asset_id"]}
            ],
        )


# ---- balance ------------------------------------------------------------------------------------


def explain_balance(
    books: Books, account: str, asset: str | None = None, book: str | None = None
) -> Node:
    """Explain what an account holds as of the close that the date's run worked on.

    Every posting up to that close is listed with the run that wrote it, from the opening on; their
    sum, per book, state and asset, must be the published figure to the last digit.
    """
    if not account.startswith(ACCOUNTS):
        raise NothingToExplainError(
            f"account: expected pot/ID, custodian/ID or suspense/REASON, got {account!r}"
        )
    columns = {"account": account, "asset_id": asset, "book": book}
    asked = {column: value for column, value in columns.items() if value is not None}
    where, values = " AND ".join(f"{column} = ?" for column in asked), list(asked.values())
    figures = {
        (r["book"], r["asset_id"], r["state"]): r["quantity"]
        for r in books.rows(
            "SELECT * FROM lake.core.ledger_balances WHERE run_date = ? AND " + where,
            [books.run.run_date, *values],
        )
    }
    postings = _postings(books, where, values)
    if not figures and not postings:
        raise NothingToExplainError(
            f"no published date up to {books.run.run_date} has a posting on {account}"
            + ("" if asset is None else f" in {asset}")
            + ("" if book is None else f" in the book {book}")
        )
    orders = books.orders(r["order_id"] for r in postings if r["order_id"])
    requests = books.requests(r["journal_id"] for r in postings if not r["order_id"])
    by_key = defaultdict(list)
    for r in postings:
        by_key[r["book"], r["asset_id"], r["state"]].append(r)
    nodes = [
        _figure(books, key, figures.get(key, Decimal(0)), by_key.get(key, []), orders, requests)
        for key in sorted(figures.keys() | by_key.keys())
    ]
    proven = all(n.facts["proven"] for n in nodes)
    return Node(
        "account",
        f"{account} as of the close of {books.run.close_date}, published with"
        f" {books.run.run_date}: {len(postings)} postings,"
        f" {'every figure proven' if proven else 'NOT every figure proven'}",
        {
            "account": account,
            "run_date": books.run.run_date,
            "effective_date": books.run.close_date,
            "known_at": books.run.known_at,
            "published_at": books.run.published_at,
            "postings": len(postings),
            "proven": proven,
        },
        nodes,
    )


def _postings(books: Books, where: str, values: list[str]) -> list[Row]:
    """Return every posting on an account up to the close, with its journal, oldest run first."""
    return books.rows(
        "WITH p AS MATERIALIZED (SELECT * FROM lake.core.ledger_postings WHERE run_date <= ? AND"
        f" effective_date <= ? AND {where}) SELECT p.*, j.kind, j.reference, j.order_id,"
        " j.line_id, j.event_time, j.known_at, j.reverses, r.journal_id AS reversed_by"
        " FROM p JOIN lake.core.ledger_journals AS j ON j.run_date = p.run_date"
        " AND j.journal_id = p.journal_id"
        " LEFT JOIN (SELECT DISTINCT reverses, journal_id FROM lake.core.ledger_journals"
        " WHERE reverses IS NOT NULL) AS r ON r.reverses = p.journal_id"
        " ORDER BY p.asset_id, p.state, p.run_date, p.effective_date, p.journal_id",
        [books.run.run_date, books.run.close_date, *values],
    )


def _figure(
    books: Books,
    key: tuple[str, str, str],
    figure: Decimal,
    postings: list[Row],
    orders: dict[str, Node],
    requests: dict[str, list[Row]],
) -> Node:
    book, asset, state = key
    total = sum((r["quantity"] for r in postings), Decimal(0))
    said = (
        f"equals the sum of its {len(postings)} postings"
        if total == figure
        else f"but its {len(postings)} postings sum to {_plain(total)}"
    )
    return Node(
        "balance",
        f"{asset} {state} ({book}): {_plain(figure)}, {said}",
        {
            "book": book,
            "asset_id": asset,
            "state": state,
            "quantity": figure,
            "sum_of_postings": total,
            "proven": total == figure,
        },
        [
            Node(
                "posting",
                f"{_signed(r['quantity'])} run {r['run_date']}, effective {r['effective_date']}:"
                f" {r['kind']} {r['journal_id']}",
                _facts(
                    r,
                    "quantity",
                    "run_date",
                    "effective_date",
                    "journal_id",
                    "kind",
                    "order_id",
                    "line_id",
                    "event_time",
                    "known_at",
                    "reverses",
                    "reversed_by",
                ),
                books.journal(r, orders, requests),
            )
            for r in postings
        ],
    )


# ---- order --------------------------------------------------------------------------------------


def explain_order(books: Books, order: str) -> Node:
    """Explain an order: where it came from, what became of it, every posting made for it."""
    node = books.orders([order])[order]
    if not node.because:
        raise NothingToExplainError(
            f"no published date up to {books.run.run_date} knows the order {order}"
        )
    postings = books.rows(
        "SELECT p.*, j.kind, j.reverses FROM lake.core.ledger_journals AS j"
        " JOIN lake.core.ledger_postings AS p ON p.run_date = j.run_date"
        " AND p.journal_id = j.journal_id WHERE j.order_id = ?"
        " ORDER BY p.run_date, p.journal_id, p.account, p.state, p.asset_id",
        [order],
    )
    for (run_date, journal), rows in _grouped_by(postings, "run_date", "journal_id").items():
        node.because.append(_journal(run_date, journal, rows))
    for row in [n for n in node.because if n.what == "batch"]:
        row.because.append(_proof(books, str(row.facts["batch_id"]), order))
    return node


def _journal(run_date: date, journal: str, rows: list[Row]) -> Node:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for r in rows:
        sums[r["asset_id"]] += r["quantity"]
    balanced = not any(sums.values())
    reverses = rows[0]["reverses"]
    return Node(
        "journal",
        f"journal {journal} of run {run_date}: {rows[0]['kind']}, effective"
        f" {rows[0]['effective_date']}, {'sums to zero' if balanced else 'DOES NOT sum to zero'}"
        + (f", reverses {reverses}" if reverses else ""),
        {
            "journal_id": journal,
            "run_date": run_date,
            "kind": rows[0]["kind"],
            "effective_date": rows[0]["effective_date"],
            "reverses": reverses,
            "proven": balanced,
        },
        [
            Node(
                "posting",
                f"{_signed(r['quantity'])} {r['asset_id']} {r['account']} {r['state']}",
                _facts(r, "account", "state", "asset_id", "quantity"),
            )
            for r in rows
        ],
    )


def _proof(books: Books, batch: str, order: str) -> Node:
    rows = books.rows("SELECT * FROM lake.core.dealing_batches WHERE batch_id = ?", [batch])
    proof = batch_proof(books.platform, rows[0])
    found = proof.inclusion(order)
    return Node(
        "proof",
        f"leaf {found.leaf} is in the sealed root: {'yes' if found.proven else 'NO'}",
        {
            "leaf": found.leaf,
            "path": list(found.path),
            "merkle_root": rows[0]["merkle_root"],
            "proven": found.proven,
        },
    )


# ---- batch --------------------------------------------------------------------------------------


def explain_batch(books: Books, dealing_date: date) -> list[Node]:
    """Explain the batches of a dealing date: seal, chain, lines, instructions, orders."""
    rows = books.rows(
        "SELECT b.*, (SELECT arg_max(e.seal, e.dealing_date) FROM lake.core.dealing_batches AS e"
        " WHERE e.book = b.book AND e.dealing_date < b.dealing_date) AS seal_before"
        " FROM lake.core.dealing_batches AS b WHERE b.dealing_date = ? ORDER BY b.book",
        [dealing_date],
    )
    if not rows:
        raise NothingToExplainError(f"no published batch was dealt on {dealing_date}")
    return [_batch(books, row) for row in rows]


def _batch(books: Books, row: Row) -> Node:
    proof = batch_proof(books.platform, row)
    chained = row["previous_seal"] == (row["seal_before"] or "0" * 64)
    checks = {
        "seal over the orders and lines in the lake": proof.seal == row["seal"],
        "signature": proof.signed,
        "chain to the seal before": chained,
    }
    lines = books.rows(
        "SELECT line_id FROM lake.core.batch_lines WHERE run_date = ? AND batch_id = ?"
        " ORDER BY line_id",
        [row["run_date"], row["batch_id"]],
    )
    sent = [
        Node(
            "sent_file",
            f"sent {d.custodian_id}/{d.run_date}/{d.file_name}: SHA-256 {d.sha256}",
            {"custodian_id": d.custodian_id, "file": d.file_name, "sha256": d.sha256},
        )
        for d in books.platform.control.dispatches(row["run_date"])
    ]
    orders = [
        Node("order", f"leaf {i}: order {o}", {"leaf_index": i, "order_id": o})
        for i, o in enumerate(proof.order_ids)
    ]
    names = ("seal", "previous_seal", "merkle_root", "price_date", "rules_version", "code_version")
    return Node(
        "batch",
        f"batch {row['batch_id']}: {row['order_count']} orders on {row['line_count']} lines, seal"
        f" {row['seal']}",
        _facts(row, "batch_id", "book", "run_date", "order_count", "line_count", *names),
        [
            *[
                Node("check", f"{name}: {'yes' if ok else 'NO'}", {"proven": ok})
                for name, ok in checks.items()
            ],
            *books.lines([r["line_id"] for r in lines]).values(),
            *orders,
            *sent,
        ],
    )


# ---- break --------------------------------------------------------------------------------------


def explain_break(books: Books, break_id: str) -> Node:
    """Explain a break: each run in which it changed, our side, theirs, the files behind."""
    rows = books.rows(
        "SELECT r.*, k.close_date FROM lake.core.reconciliation_breaks AS r"
        " JOIN temp.main.known_runs AS k ON k.run_date = r.run_date WHERE r.break_id = ?"
        " ORDER BY r.run_date",
        [break_id],
    )
    if not rows:
        raise NothingToExplainError(
            f"no published date up to {books.run.run_date} has the break {break_id}"
        )
    last = rows[-1]
    seen = [r for i, r in enumerate(rows) if i == 0 or _moved(rows[i - 1], r)]
    suspended = books.rows(
        "SELECT * FROM lake.core.suspended_assets WHERE break_id = ? ORDER BY run_date", [break_id]
    )
    node = Node(
        "break",
        f"break {break_id}: {last['class']} of {last['asset_id'] or 'a whole statement'} at"
        f" {last['custodian_id']}, {last['state']}, first seen {last['first_seen']}",
        _facts(
            last,
            "break_id",
            "book",
            "custodian_id",
            "asset_id",
            "class",
            "reference",
            "basis",
            "first_seen",
            "age",
            "owner",
            "state",
        ),
        [_seen(books, r) for r in seen],
    )
    if suspended:
        days = [str(r["run_date"]) for r in suspended]
        node.because.append(
            Node(
                "suspension",
                f"suspended {last['asset_id']} in the runs of {', '.join(days)}",
                {"run_dates": days},
            )
        )
    return node


def _moved(before: Row, after: Row) -> bool:
    names = ("ours", "theirs", "difference", "state", "evidence")
    return any(before[n] != after[n] for n in names)


def _seen(books: Books, row: Row) -> Node:
    """Return one run's view of a break: what we held, what the custodian said."""
    corrected = row["state"] in ("corrected", "closed")
    node = Node(
        "seen",
        f"run {row['run_date']}, close of {row['close_date']}: {row['state']}, ours"
        f" {_plain(row['ours'])}, theirs {_plain(row['theirs'])}, difference"
        f" {_plain(row['difference'])}"
        + (" (as last seen)" if corrected else f": {row['evidence']}"),
        _facts(
            row,
            "run_date",
            "close_date",
            "state",
            "ours",
            "theirs",
            "difference",
            "age",
            "evidence",
        ),
    )
    if row["basis"] is None:
        told = books.confirmations([row["reference"]]).get(row["reference"], [])
        told = told or _by_confirmation(books, row["reference"])
        node.because += told
    else:
        node.because += [_our_side(books, row), *_their_side(books, row)]
    return node


def _by_confirmation(books: Books, confirmation: str) -> list[Node]:
    rows = books.rows(
        "SELECT instruction_id FROM lake.core.confirmations WHERE confirmation_id = ?",
        [confirmation],
    )
    return [
        n for r in rows for n in books.confirmations([r["instruction_id"]])[r["instruction_id"]]
    ]


def _our_side(books: Books, row: Row) -> Node:
    """Return what our books held at the custodian: minus its balance, by the statement's basis."""
    states = ["settled"] if row["basis"] == "settled" else ["settled", "in_flight"]
    account = f"custodian/{row['custodian_id']}"
    held = books.rows(
        "SELECT state, quantity FROM lake.core.ledger_balances WHERE run_date = ? AND book = ?"
        " AND account = ? AND asset_id IS NOT DISTINCT FROM ? AND state IN (SELECT unnest(?))"
        " ORDER BY state",
        [row["run_date"], row["book"], account, row["asset_id"], states],
    )
    total = -sum((r["quantity"] for r in held), Decimal(0))
    # A break that is no longer shown keeps the figures it was last seen with.
    compared = row["state"] in ("open", "explained") and row["ours"] is not None
    return Node(
        "ours",
        f"our books: {account} {_plain(total)} ({' + '.join(states)});"
        f" acme explain balance {account} --asset {row['asset_id']} --date {row['run_date']}",
        {
            "account": account,
            "quantity": total,
            "states": states,
            "proven": total == row["ours"] if compared else None,
        },
    )


def _their_side(books: Books, row: Row) -> list[Node]:
    rows = books.rows(
        "SELECT * FROM lake.core.statements WHERE custodian_id = ? AND statement_date = ?"
        " AND basis = ? AND (asset_id IS NOT DISTINCT FROM ? OR ? IS NULL) AND run_date <= ?"
        " ORDER BY sequence, row",
        [
            row["custodian_id"],
            row["close_date"],
            row["basis"],
            row["asset_id"],
            row["asset_id"],
            row["run_date"],
        ],
    )
    return [
        Node(
            "statement",
            f"statement {r['statement_id']} of {r['statement_date']}, page {r['page']} of"
            f" {r['pages']}: {r['asset_id'] or 'nothing'} {_plain(r['units'])}",
            _facts(r, "run_date", "statement_id", "statement_date", "basis", "asset_id", "units"),
            [_file(books.origins.row(r["file_sha256"], r["row"]))],
        )
        for r in rows
    ]


# ---- small things -------------------------------------------------------------------------------


def _file(origin: dict[str, object]) -> Node:
    row = f", row {origin['row']}" if origin.get("row") is not None else ""
    return Node(
        "file",
        f"file {origin['name']} ({origin['feed']}){row}: SHA-256 {origin['file_sha256']}"
        f" {_BYTES[str(origin['bytes'])]}",
        origin,
    )


_BYTES = {
    "verified": "verified",
    "missing": "IS MISSING",
    "changed": "DOES NOT MATCH the bytes that are kept",
}


def _crossing(line: str, crossed: Decimal, price: Node) -> Node:
    """Return what a line's crossed units were booked at: money(units x closing price)."""
    at = Decimal(str(price.facts["closing_price"]))
    pennies = quantities.consideration(
        int(crossed * quantities.UNIT_SCALE), int(at * quantities.PRICE_SCALE)
    )
    worth = Decimal(pennies).scaleb(-2)
    return Node(
        "crossing",
        f"{_plain(crossed)} units of line {line} crossed at {_plain(at)}, worth {_plain(worth)}",
        {"line_id": line, "crossed": crossed, "consideration": worth},
        [price],
    )


def _grouped(rows: list[Row], name: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[name]].append(row)
    return found


def _grouped_by(rows: list[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[n] for n in names)].append(row)
    return found


def _facts(row: Row, *names: str) -> dict[str, object]:
    return {name: _text(row.get(name)) for name in names}


def _text(value: object) -> object:
    return value if value is None or isinstance(value, int) else str(value)


def _plain(value: object) -> str:
    """Return a quantity without the zeros that only fill its scale; two decimals stay."""
    if not isinstance(value, Decimal):
        return "none" if value is None else str(value)
    text = f"{value:f}"
    whole, _, decimals = text.partition(".")
    kept = decimals.rstrip("0").ljust(min(2, len(decimals)), "0")
    return f"{whole}.{kept}" if kept else whole


def _signed(value: Decimal) -> str:
    text = _plain(value)
    return text if value < 0 else f"+{text}"
