"""The page of a published date: one HTML file of pictures and tables, which needs no server.

It is drawn from `marts.duckdb` alone, from the rows of the date and of those before it, so that
the page of a date stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any, Final

import duckdb

from acme.lakehouse.files import make_folder, write_atomic
from acme.lakehouse.home import Home
from acme.operations.marts import drawing
from acme.operations.marts.inputs import MartsError

FILE_NAME: Final = "marts.html"
# About a year of business dates: more lines would not be told apart.
DATES_SHOWN_MAX: Final = 260
AGES: Final = ("0-1", "2-3", "4-5", "6+")
_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#222}
h1{margin-bottom:0}h2{margin-top:2.2rem}table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:.25rem .5rem;border-bottom:1px solid #ddd;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{width:100%;font-size:12px}
.grid{stroke:#ddd}.legend span{margin-right:1rem}.legend i{display:inline-block;width:.8em;
height:.8em;margin-right:.35em}.bad{color:#b00020;font-weight:600}.note{color:#666}
"""


@dataclass(frozen=True)
class Table:
    """Rows as DuckDB gives them, under the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def values(self, name: str) -> list[Any]:
        """Return one column."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


def place(home: Home, run_date: date) -> Path:
    """Return where the page of a date lies."""
    return home.reports / run_date.isoformat() / FILE_NAME


def newest(marts: Path) -> date | None:
    """Return the newest date that the file of marts holds; None where there is no file."""
    if not marts.exists():
        return None
    with _opened(marts) as connection:
        row = connection.execute("SELECT max(run_date) FROM published").fetchone()
    return None if row is None else row[0]


def write(marts: Path, run_date: date, path: Path) -> Path:
    """Write the page of a date; the same marts give the same bytes. Raises `MartsError`."""
    content = render(marts, run_date)
    make_folder(path.parent)
    write_atomic(path, content.encode())
    return path


def render(marts: Path, run_date: date) -> str:
    """Return the page of a date as HTML; `MartsError` where its marts are not there."""
    if not marts.exists():
        raise MartsError("no marts are built yet: run `acme marts build`")
    with _opened(marts) as connection:
        published = _read(connection, "SELECT * FROM published WHERE run_date = ?", [run_date])
        if not published.rows:
            raise MartsError(f"{run_date} has no marts: publish it, then run `acme marts build`")
        head = dict(zip(published.columns, published.rows[0], strict=True))
        sections = [
            _holdings(connection, run_date),
            _dealing(connection, run_date),
            _breaks(connection, run_date),
            _checks(connection, run_date),
        ]
    title = f"Published {run_date}"
    facts = (
        f"Books as of the close of {head['as_of']}. Published {head['published_at']} UTC."
        f" {head['orders_dealt']:,} orders dealt; seal of book live {head['live_seal'] or 'none'}."
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{title}</h1><p>{escape(facts)}</p>{''.join(sections)}</body></html>\n"
    )


def _opened(marts: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(marts), read_only=True)
    except duckdb.Error as error:
        raise MartsError(f"{marts}: cannot be read ({error})") from error


def _read(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[object]) -> Table:
    result = connection.execute(query, list(values))
    return Table(tuple(c[0] for c in result.description or ()), result.fetchall())


# ---- sections -----------------------------------------------------------------------------------


def _holdings(connection: duckdb.DuckDBPyConnection, run_date: date) -> str:
    history = _read(
        connection,
        "SELECT as_of, asset_id, sum(value) AS value FROM holdings_by_asset"
        " WHERE run_date <= ? AND book = 'live' GROUP BY ALL ORDER BY as_of, asset_id",
        [run_date],
    )
    worth = {(day, asset): value for day, asset, value in history.rows}
    days = sorted({day for day, _ in worth})[-DATES_SHOWN_MAX:]
    assets = sorted({asset for _, asset in worth})
    series = {asset: [worth.get((day, asset)) for day in days] for asset in assets}
    # A scheme that owes more of an asset than it holds is told by the table, not by the picture.
    drawn = {n: [None if v is None or v < 0 else v for v in vs] for n, vs in series.items()}
    now = _read(
        connection,
        "SELECT book, asset_id, custodian_id, pots, units, units_at_custodian, closing_price, value"
        " FROM holdings_by_asset WHERE run_date = ? ORDER BY book, asset_id",
        [run_date],
    )
    total = sum((v for v in now.values("value") if v is not None), Decimal(0))
    chart = drawing.lines("Value of holdings by asset", [f"{d}" for d in days], drawn)
    return _section(
        "Holdings by asset",
        f"{chart}<p>Worth together: {total:,}.</p>{_table(now)}",
        "Book live, at the newest accepted closing prices, in the scheme's currency.",
    )


def _dealing(connection: duckdb.DuckDBPyConnection, run_date: date) -> str:
    history = _read(
        connection,
        "SELECT p.run_date, coalesce(sum(d.gross_value), 0) AS gross,"
        " coalesce(sum(d.net_value), 0) AS net FROM published AS p"
        " LEFT JOIN dealing_summary AS d ON d.run_date = p.run_date AND d.book = 'live'"
        " WHERE p.run_date <= ? GROUP BY ALL ORDER BY p.run_date",
        [run_date],
    )
    recent = Table(history.columns, history.rows[-DATES_SHOWN_MAX:])
    chart = drawing.pairs(
        "Gross and net traded",
        [str(day) for day in recent.values("run_date")],
        {"gross": recent.values("gross"), "net": recent.values("net")},
    )
    now = _read(
        connection,
        "SELECT book, asset_id, quantity_type, orders, gross_buys, gross_sells, net, side,"
        " gross_value, net_value FROM dealing_summary WHERE run_date = ? ORDER BY book, line_id",
        [run_date],
    )
    return _section(
        "Net against gross traded",
        f"{chart}{_table(now)}",
        "What crosses inside never goes out. At the prices the batch was checked against.",
    )


def _breaks(connection: duckdb.DuckDBPyConnection, run_date: date) -> str:
    now = _read(
        connection,
        "SELECT custodian_id, asset_id, break_class, state, age_bucket, breaks, oldest_seen,"
        " absolute_difference FROM break_ageing WHERE run_date = ?"
        " ORDER BY oldest_age DESC, custodian_id, asset_id, break_class, state",
        [run_date],
    )
    counted = dict.fromkeys(AGES, 0)
    for age, count in zip(now.values("age_bucket"), now.values("breaks"), strict=True):
        counted[age] += count
    chart = drawing.rows("Breaks by age", [(f"{age} days", n) for age, n in counted.items()])
    return _section(
        "Break ageing", f"{chart}{_table(now)}", "Breaks not closed, by age in business days."
    )


def _checks(connection: duckdb.DuckDBPyConnection, run_date: date) -> str:
    now = _read(
        connection,
        "SELECT name AS check_name, outcome, is_blocking, failures FROM process_health"
        " WHERE run_date = ? AND kind = 'check' ORDER BY outcome, name",
        [run_date],
    )
    passed = sum(outcome == "passed" for outcome in now.values("outcome"))
    return _section("Checks", _table(now), f"{passed} of {len(now.rows)} passed.")


# ---- HTML ---------------------------------------------------------------------------------------


def _section(title: str, content: str, note: str) -> str:
    return f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{content}'


def _table(table: Table) -> str:
    if not table.rows:
        return "<p>None.</p>"
    numeric = [
        all((isinstance(v, int | Decimal) and not isinstance(v, bool)) or v is None for v in values)
        for values in zip(*table.rows, strict=True)
    ]
    head = _cells("th", [name.replace("_", " ") for name in table.columns], numeric)
    body = "".join(f"<tr>{_cells('td', row, numeric)}</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(tag: str, values: Iterable[Any], numeric: Sequence[bool]) -> str:
    parts = []
    for value, is_number in zip(values, numeric, strict=True):
        kind = "n" if is_number else "bad" if value in ("failed", "break") else ""
        attribute = f' class="{kind}"' if kind else ""
        parts.append(f"<{tag}{attribute}>{escape(_text(value))}</{tag}>")
    return "".join(parts)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | Decimal) else str(value)
