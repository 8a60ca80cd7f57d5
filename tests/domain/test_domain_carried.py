"""Rows that hold until a later file says otherwise."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from acme.domain.carried import carried

T, BEFORE = date(2024, 3, 5), date(2024, 3, 4)
AT = datetime(2024, 3, 5, 9, tzinfo=UTC)


def landed(*rows: tuple[str, str | None, int]) -> pl.DataFrame:
    """Return rows of key, value and the sequence of their file."""
    return pl.DataFrame(
        [(k, v, f"f{s}", n, s, AT) for n, (k, v, s) in enumerate(rows, 2)],
        schema={
            "k": pl.String, "v": pl.String, "file_sha256": pl.String, "row": pl.Int64,
            "sequence": pl.Int64, "landed_at": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )  # fmt: skip


def known(*rows: tuple[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [(BEFORE, k, v, BEFORE) for k, v in rows],
        schema={"run_date": pl.Date, "k": pl.String, "v": pl.String, "stated_on": pl.Date},
        orient="row",
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], [("A", "1", BEFORE), ("B", None, BEFORE)]),
        ([("A", "1", 1), ("B", None, 1)], [("A", "1", BEFORE), ("B", None, BEFORE)]),
        ([("A", "2", 1)], [("A", "2", T), ("B", None, BEFORE)]),
        ([("B", "2", 1)], [("A", "1", BEFORE), ("B", "2", T)]),
        ([("A", None, 1)], [("A", None, T), ("B", None, BEFORE)]),
        ([("C", None, 1)], [("A", "1", BEFORE), ("B", None, BEFORE), ("C", None, T)]),
        # The last file that names a key decides, also to what was known before.
        ([("A", "2", 1), ("A", "3", 2)], [("A", "3", T), ("B", None, BEFORE)]),
        ([("A", "2", 1), ("A", "1", 2)], [("A", "1", BEFORE), ("B", None, BEFORE)]),
        # A file that states it in two ways changes nothing, even after one that did not.
        ([("A", "2", 1), ("A", "3", 1)], [("A", "1", BEFORE), ("B", None, BEFORE)]),
        ([("A", "2", 1), ("A", "2", 2), ("A", "3", 2)], [("A", "1", BEFORE), ("B", None, BEFORE)]),
        ([("A", "2", 1), ("A", "2", 1)], [("A", "2", T), ("B", None, BEFORE)]),
    ],
)
def test_what_counts(
    rows: list[tuple[str, str | None, int]], expected: list[tuple[str, str | None, date]]
) -> None:
    before = known(("A", "1"), ("B", None))
    for frame in (landed(*rows), landed(*rows).reverse()):
        assert carried("x", frame, before, ["k"], T).rows() == expected


def test_the_first_files_of_all() -> None:
    assert carried("x", landed(("A", "1", 1)), known(), ["k"], T).rows() == [("A", "1", T)]
