"""The page of a published date shows the figures of its marts, and needs nothing to be read."""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import duckdb
import pytest

from acme.operations.marts import drawing, page
from acme.operations.marts.inputs import MartsError
from acme.operations.marts.models import marts

DAYS = [date(2024, 3, 4), date(2024, 3, 5), date(2024, 3, 6)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of marts with two assets over three dates, one without a price at first."""
    path = tmp_path / "marts.duckdb"
    with duckdb.connect(str(path)) as connection:
        for mart in marts():
            columns = ", ".join(f"{c.name} {c.sql_type}" for c in mart.columns)
            connection.execute(f"CREATE TABLE {mart.name} ({columns})")
        for at, day in enumerate(DAYS):
            connection.execute(
                "INSERT INTO published (run_date, as_of, published_at, orders_dealt, live_seal)"
                " VALUES (?, ?, '2024-03-07 12:00:00', 3, 'ab')",
                [day, date(2024, 3, 1)] if at == 0 else [day, DAYS[at - 1]],
            )
            for asset, value in (("<EQ>", None if at == 0 else 3000 + at), ("USD", 5000)):
                connection.execute(
                    "INSERT INTO holdings_by_asset (run_date, as_of, book, asset_id, custodian_id,"
                    " pots, units, units_at_custodian, value)"
                    " SELECT run_date, as_of, 'live', ?, 'NORTH', 1, 60, 60, ? FROM published"
                    " WHERE run_date = ?",
                    [asset, value, day],
                )
            connection.execute(
                "INSERT INTO process_health (run_date, kind, name, outcome, is_blocking, failures)"
                " VALUES (?, 'check', 'sums', ?, true, ?)",
                [day, "failed" if at == 1 else "passed", at],
            )
        connection.execute(
            "INSERT INTO dealing_summary (run_date, book, line_id, asset_id, quantity_type, orders,"
            " gross_buys, gross_sells, net, side, gross_value, net_value) VALUES"
            " ('2024-03-05', 'live', 'L', 'EQ', 'U', 2, 10, 4, 6, 'B', 700.50, 300.25)"
        )
        connection.execute(
            "INSERT INTO break_ageing (run_date, custodian_id, asset_id, break_class, state,"
            " age_bucket, breaks, oldest_seen, oldest_age, absolute_difference) VALUES"
            " ('2024-03-05', 'NORTH', 'EQ', 'quantity', 'open', '2-3', 2, '2024-03-01', 2, 1.25)"
        )
    return path


def test_it_shows_the_figures_of_its_date_and_of_none_later(file: Path) -> None:
    text = page.render(file, DAYS[1])
    assert "Published 2024-03-05" in text
    assert "as of the close of 2024-03-04" in text
    assert "Worth together: 8,001.00." in text
    assert "700.50" in text
    assert "300.25" in text
    assert '<td class="bad">failed</td>' in text
    assert "0 of 1 passed." in text
    assert "2024-03-06" not in text
    assert "3,002" not in text


def test_it_reads_without_a_server_or_a_network(file: Path) -> None:
    text = page.render(file, DAYS[2])
    assert not re.search(r"<script|<link|<img|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "default-src 'none'" in text
    assert "&lt;EQ&gt;" in text
    assert "<EQ>" not in text
    for svg in re.findall(r"<svg.*?</svg>", text):
        ET.fromstring(svg)


def test_the_same_marts_give_the_same_bytes(file: Path, tmp_path: Path) -> None:
    first = page.write(file, DAYS[2], tmp_path / "a" / "marts.html").read_bytes()
    assert page.write(file, DAYS[2], tmp_path / "b" / "marts.html").read_bytes() == first
    assert page.newest(file) == DAYS[2]


def test_a_date_without_marts_says_so(file: Path, tmp_path: Path) -> None:
    with pytest.raises(MartsError, match="2024-01-01 has no marts"):
        page.render(file, date(2024, 1, 1))
    with pytest.raises(MartsError, match="acme marts build"):
        page.render(tmp_path / "none.duckdb", DAYS[0])
    assert page.newest(tmp_path / "none.duckdb") is None


# ---- drawing ------------------------------------------------------------------------------------


def points(svg: str) -> list[tuple[int, int]]:
    """Return every point of the lines, in order."""
    return [
        (int(x), int(y))
        for line in re.findall(r'points="([^"]+)"', svg)
        for x, y in (point.split(",") for point in line.split())
    ]


def test_a_line_ends_at_the_top_for_the_largest_and_at_the_bottom_for_zero() -> None:
    values = [Decimal(0), Decimal("0.01"), Decimal(50), Decimal(100)]
    svg = drawing.lines("t", ["a", "b", "c", "d"], {"one": values})
    heights = [y for _, y in points(svg)]
    bottom = drawing.HEIGHT - drawing.BOTTOM
    assert heights == [bottom, bottom, (bottom + drawing.TOP) // 2, drawing.TOP]
    assert all(drawing.LEFT <= x <= drawing.WIDTH - drawing.RIGHT for x, _ in points(svg))


def test_a_value_that_is_missing_is_a_gap() -> None:
    values = [Decimal(1), Decimal(2), None, Decimal(3)]
    svg = drawing.lines("t", ["a", "b", "c", "d"], {"one": values})
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 1


def test_bars_are_as_long_as_their_share_of_the_largest() -> None:
    svg = drawing.rows("t", [("a", 4), ("b", 2), ("c", 0)])
    widths = [int(w) for w in re.findall(r'width="(\d+)"', svg)]
    assert widths[0] == 2 * widths[1]
    assert widths[2] == 0
    svg = drawing.pairs("t", ["a"], {"gross": [Decimal(8)], "net": [Decimal(2)]})
    gross, net = (int(h) for h in re.findall(r'<rect [^>]*height="(\d+)"', svg))
    assert gross == drawing.HEIGHT - drawing.TOP - drawing.BOTTOM
    assert net in (gross // 4, gross // 4 + 1)


def test_nothing_to_draw_draws_nothing_wrong() -> None:
    for svg in (
        drawing.lines("t", [], {}),
        drawing.lines("t", ["a"], {"one": [None]}),
        drawing.pairs("t", ["a"], {"gross": [Decimal(0)]}),
        drawing.rows("t", []),
    ):
        ET.fromstring(re.findall(r"<svg.*?</svg>", svg)[0])
