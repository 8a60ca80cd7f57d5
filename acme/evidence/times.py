"""The books as of an effective date and as known at an instant; sees published dates alone.

A session is a read-only DuckDB connection to the lake with the table `known_runs` (one row per
published date that counts) and the table functions of `MACROS`: `balances`, `positions`,
`prices`, `breaks`, `batches` and `runs`. Each takes `as_of` (the close of a business date) and
`known_at` (an instant), both optional. docs/reference/four-times.md says what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import duckdb

from acme.lakehouse.home import event_clock
from acme.lakehouse.lake import open_catalog
from acme.lakehouse.platform import Platform

FUNCTIONS: Final = ("balances", "positions", "prices", "breaks", "batches", "runs")

# What every function begins with: the newest run that counts (`last_run`), the close that is
# asked for, and the newest run whose books are of a close not after it (`base`).
_CUT: Final = """
WITH cut AS MATERIALIZED (
    SELECT max(k.run_date) AS last_run, max(k.close_date) AS last_close
    FROM temp.main.known_runs AS k
    WHERE k.known_from <= coalesce(CAST(known_at AS TIMESTAMPTZ), TIMESTAMPTZ 'infinity')
),
wanted AS MATERIALIZED (
    SELECT cut.last_run, coalesce(CAST(as_of AS DATE), cut.last_close) AS asked FROM cut
),
base AS MATERIALIZED (
    SELECT
        coalesce(max(k.run_date), DATE '0001-01-01') AS run_date,
        coalesce(max(k.close_date), DATE '0001-01-01') AS close_date
    FROM temp.main.known_runs AS k, wanted AS w
    WHERE k.run_date <= w.last_run AND k.close_date <= w.asked
)"""

_RUNS: Final = """
SELECT k.* FROM temp.main.known_runs AS k
WHERE k.known_from <= coalesce(CAST(known_at AS TIMESTAMPTZ), TIMESTAMPTZ 'infinity')
ORDER BY k.run_date"""

# The balances that the base struck, and every posting since that is effective by the close: those
# of later runs, and those that the base's own decide made for its own date.
_BALANCES: Final = f"""{_CUT},
entries AS (
    SELECT b.book, b.account, b.state, b.asset_id, b.quantity
    FROM lake.core.ledger_balances AS b
    WHERE b.run_date = (SELECT run_date FROM base)
    UNION ALL
    SELECT p.book, p.account, p.state, p.asset_id, p.quantity
    FROM lake.core.ledger_postings AS p, base, wanted AS w
    WHERE p.run_date >= (SELECT run_date FROM base)
      AND p.run_date <= (SELECT last_run FROM wanted)
      AND p.effective_date <= (SELECT asked FROM wanted)
      AND (p.run_date > base.run_date OR p.effective_date > base.close_date)
)
SELECT
    w.asked AS as_of, e.book, e.account, e.state, e.asset_id,
    CAST(sum(e.quantity) AS DECIMAL(28, 6)) AS quantity
FROM entries AS e, wanted AS w
GROUP BY ALL
HAVING sum(e.quantity) <> 0
ORDER BY e.book, e.account, e.state, e.asset_id"""

# Of a price date and asset the newest file that counts; one on hold is no accepted price.
_PRICES: Final = f"""{_CUT},
landed AS (
    SELECT
        c.price_date, c.asset_id, c.closing_price, c.status, c.run_date, c.file_sha256,
        dense_rank() OVER (
            PARTITION BY c.price_date, c.asset_id ORDER BY c.run_date DESC, i.sequence DESC
        ) AS age
    FROM lake.core.closing_prices AS c
    JOIN lake.core.run_inputs AS i
        ON i.run_date = c.run_date AND i.file_sha256 = c.file_sha256 AND i.feed = 'closing_prices'
    WHERE c.run_date <= (SELECT last_run FROM wanted)
      AND c.price_date <= (SELECT asked FROM wanted)
),
accepted AS (
    SELECT
        l.*, row_number() OVER (PARTITION BY l.asset_id ORDER BY l.price_date DESC) AS newest
    FROM landed AS l
    WHERE l.age = 1 AND l.status = 'accepted'
)
SELECT
    w.asked AS as_of, a.asset_id, a.price_date, a.closing_price, a.run_date, a.file_sha256
FROM accepted AS a, wanted AS w
WHERE a.newest = 1
ORDER BY a.asset_id"""

# money(x) of the rules: half-even, in integers. 6 + 6 decimals become 2.
_MONEY: Final = """
CASE
    WHEN product < 0 THEN -1 ELSE 1
END * (
    abs(product) // 10000000000
    + CASE
        WHEN abs(product) % 10000000000 > 5000000000 THEN 1
        WHEN abs(product) % 10000000000 = 5000000000
            THEN abs(product) // 10000000000 % 2
        ELSE 0
    END
)"""

_POSITIONS: Final = """
SELECT
    b.as_of, b.book, substr(b.account, 5) AS pot_id, b.asset_id,
    CAST(sum(b.quantity) AS DECIMAL(28, 6)) AS quantity,
    CAST(coalesce(sum(b.quantity) FILTER (b.state = 'settled'), 0) AS DECIMAL(28, 6)) AS settled,
    CAST(coalesce(sum(b.quantity) FILTER (b.state = 'reserved'), 0) AS DECIMAL(28, 6)) AS reserved,
    CAST(coalesce(sum(b.quantity) FILTER (b.state = 'in_flight'), 0) AS DECIMAL(28, 6))
        AS in_flight,
    any_value(p.price_date) AS price_date,
    any_value(p.closing_price) AS closing_price,
    CASE
        WHEN b.asset_id = '{currency}' THEN CAST(sum(b.quantity) AS DECIMAL(18, 2))
        ELSE CAST(
            CAST(
                acme_money(
                    CAST(sum(b.quantity) * 1000000 AS HUGEINT)
                    * CAST(any_value(p.closing_price) * 1000000 AS HUGEINT)
                ) AS DECIMAL(38, 0)
            ) * 0.01 AS DECIMAL(18, 2)
        )
    END AS value
FROM balances(as_of := as_of, known_at := known_at) AS b
LEFT JOIN prices(as_of := as_of, known_at := known_at) AS p ON p.asset_id = b.asset_id
WHERE b.account LIKE 'pot/%'
GROUP BY b.as_of, b.book, b.account, b.asset_id
ORDER BY b.book, pot_id, b.asset_id"""

# The breaks as the run of that close found them, and what has been learnt of each since.
_BREAKS: Final = f"""{_CUT},
since AS (
    SELECT
        n.book, n.break_id,
        arg_max(n.state, n.run_date) AS state_known,
        min(n.run_date) FILTER (n.state = 'corrected') AS corrected_in_run
    FROM lake.core.reconciliation_breaks AS n
    WHERE n.run_date >= (SELECT run_date FROM base)
      AND n.run_date <= (SELECT last_run FROM wanted)
    GROUP BY n.book, n.break_id
)
SELECT
    base.close_date AS as_of, r.book, r.break_id, r.custodian_id, r.asset_id, r.class, r.reference,
    r.ours, r.theirs, r.difference, r.first_seen, r.age, r.state, s.state_known, s.corrected_in_run
FROM lake.core.reconciliation_breaks AS r, base
JOIN since AS s ON s.book = r.book AND s.break_id = r.break_id
WHERE r.run_date = (SELECT run_date FROM base)
ORDER BY r.first_seen, r.break_id"""

# Every batch dealt by that close, with how far its lines had come.
_BATCHES: Final = f"""{_CUT},
moved AS (
    SELECT
        j.line_id,
        bool_or(j.kind = 'allocation') AS booked,
        bool_or(j.kind = 'settlement') AS settled
    FROM lake.core.ledger_journals AS j
    WHERE j.line_id IS NOT NULL
      AND j.run_date <= (SELECT last_run FROM wanted)
      AND j.effective_date <= (SELECT asked FROM wanted)
    GROUP BY j.line_id
),
lines AS (
    SELECT
        l.batch_id,
        count(*) FILTER (m.booked) AS lines_booked,
        count(*) FILTER (m.settled) AS lines_settled
    FROM lake.core.batch_lines AS l
    LEFT JOIN moved AS m ON m.line_id = l.line_id
    WHERE l.run_date <= (SELECT last_run FROM wanted)
    GROUP BY l.batch_id
)
SELECT
    w.asked AS as_of, b.book, b.batch_id, b.dealing_date, b.order_count, b.line_count,
    coalesce(l.lines_booked, 0) AS lines_booked, coalesce(l.lines_settled, 0) AS lines_settled,
    b.seal, b.known_at AS sealed_known_at
FROM lake.core.dealing_batches AS b
JOIN wanted AS w ON b.dealing_date <= w.asked AND b.run_date <= w.last_run
LEFT JOIN lines AS l ON l.batch_id = b.batch_id
ORDER BY b.dealing_date, b.book"""


class TimesError(Exception):
    """A question about a time at which nothing had been published."""


@dataclass(frozen=True)
class KnownRun:
    """A published date: the close its books show, and the instants that belong to it.

    `known_at`: when its inputs were fixed. `published_at`: when its publication was recorded, on
    the machine's clock. `known_from`: from when on it counts as known to third parties.
    """

    run_date: date
    close_date: date
    known_at: datetime
    published_at: datetime
    known_from: datetime
    snapshot_id: int


def known_runs(platform: Platform, known_at: datetime | None = None) -> list[KnownRun]:
    """Return the published dates that were known at an instant (None: now), oldest first.

    A date is known from its publication on; on the event clock, whose only instants are those of
    the events, from its cut-off on.
    """
    by_event = event_clock(platform.home)
    with platform.control.transaction() as cursor:
        rows = cursor.execute(
            "SELECT p.run_date, r.known_at, p.published_at, p.snapshot_id"
            " FROM control.publications AS p JOIN control.runs AS r USING (run_date)"
            " ORDER BY p.run_date"
        ).fetchall()
    found: list[KnownRun] = []
    for run_date, known, published, snapshot in rows:
        known_from = known if by_event else published
        if known_at is not None and known_from > known_at:
            break
        # Dates run in order, so the close a run works on is that of the run before it.
        close = found[-1].run_date if found else _first_close(platform, run_date)
        found.append(KnownRun(run_date, close, known, published, known_from, snapshot))
    return found


def _first_close(platform: Platform, run_date: date) -> date:
    batches = platform.lake.read(run_date, ["core.dealing_batches"])["core.dealing_batches"]
    return date.fromisoformat(str(batches["price_date"][0]))


@contextmanager
def session(
    platform: Platform, known_at: datetime | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the lake as it was published at an instant (None: now), with the table functions.

    `core.…` are the tables of the snapshot of the newest publication, so a date that is being run
    does not show. Raises TimesError where nothing had been published by `known_at`.
    """
    runs = known_runs(platform, known_at)
    if known_at is not None and not runs:
        raise TimesError(f"nothing had been published by {known_at.isoformat()}")
    snapshot = runs[-1].snapshot_id if runs else None
    connection = open_catalog(platform.home, platform.url, read_only=True, snapshot=snapshot)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("USE lake.core")
        _prepare(connection, runs, platform.control.scheme().currency)
        yield connection
    finally:
        connection.close()


def _prepare(connection: duckdb.DuckDBPyConnection, runs: list[KnownRun], currency: str) -> None:
    connection.execute(
        "CREATE TEMP TABLE known_runs (run_date DATE, close_date DATE, known_at TIMESTAMPTZ,"
        " published_at TIMESTAMPTZ, known_from TIMESTAMPTZ, snapshot_id BIGINT)"
    )
    if runs:
        connection.executemany(
            "INSERT INTO temp.main.known_runs VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    r.run_date,
                    r.close_date,
                    r.known_at,
                    r.published_at,
                    r.known_from,
                    r.snapshot_id,
                )
                for r in runs
            ],
        )
    connection.execute(f"CREATE TEMP MACRO acme_money(product) AS {_MONEY}")
    both = "as_of := NULL, known_at := NULL"
    macros = {
        f"runs({'known_at := NULL'})": _RUNS,
        f"balances({both})": _BALANCES,
        f"prices({both})": _PRICES,
        f"positions({both})": _POSITIONS.format(currency=currency),
        f"breaks({both})": _BREAKS,
        f"batches({both})": _BATCHES,
    }
    for call, text in macros.items():
        connection.execute(f"CREATE TEMP MACRO {call} AS TABLE {text}")


def instant(text: str) -> datetime:
    """Return an RFC 3339 instant, or the last instant of a date (UTC).

    Raises ValueError for anything else, an instant without offset included.
    """
    if len(text) == len("2020-01-31"):
        end = datetime.fromisoformat(f"{text}T00:00:00+00:00") + timedelta(days=1)
        return end - timedelta(microseconds=1)
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"expected an instant with offset, got {text!r}")
    return found
