"""A few hundred random day-histories, and proof that one wrong penny among them would be seen."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from acme.domain import execution
from acme.domain import quantities as q
from acme.lakehouse import contracts
from tests.histories.batch import Batch, reference_of, run_batch
from tests.histories.case import Case, Generator
from tests.histories.chance import GROUP_OF, chosen_kinds
from tests.histories.compare import Player, replay
from tests.histories.shrink import Shrinker, tags

ALL = chosen_kinds("all")


def _alone(case: Case) -> None:
    del case


def _told(batch: Batch) -> str:
    return batch.difference.text() if batch.difference is not None else ""


def test_no_check_is_violated_in_random_histories() -> None:
    batch = run_batch("a", 14, 6, ALL, _alone)
    assert batch.difference is None, _told(batch)
    assert batch.day_histories == 14 * 6
    # Every check of every process on every date, the second engine's stand-in included.
    assert batch.checks == 18 * 6
    assert sum(batch.kinds[kind] > 0 for kind in ALL) > len(ALL) * 2 // 3
    for outcome in ("order settled", "reversal", "line that crosses", "break quantity"):
        assert batch.outcomes[outcome] > 0, outcome


def test_the_platform_agrees_with_the_reference_in_random_histories() -> None:
    batch = run_batch("f", 20, 8, ALL, reference_of)
    assert batch.difference is None, _told(batch)
    assert batch.day_histories == 20 * 8
    assert sum(batch.kinds[kind] > 0 for kind in ALL) > len(ALL) * 2 // 3
    for outcome in ("order settled", "reversal", "line that crosses", "break quantity"):
        assert batch.outcomes[outcome] > 0, outcome


def test_a_penny_that_breaks_no_identity_is_seen_by_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = q.stressed_cost_expr

    def without_its_penny(units: pl.Expr, price: pl.Expr, stress: pl.Expr) -> pl.Expr:
        return honest(units, price, stress) - 1

    monkeypatch.setattr(q, "stressed_cost_expr", without_its_penny)
    assert run_batch("h", 4, 3, ALL, _alone).difference is None
    seen = run_batch("h", 4, 3, ALL, reference_of).difference
    assert seen is not None
    assert "trades" in seen.kinds()


def test_a_lost_penny_is_found_and_its_case_shrunk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    honest = execution.split

    def one_less(
        frame: pl.DataFrame, group: list[str], total: str, weight: str, share: str
    ) -> pl.DataFrame:
        split = honest(frame, group, total, weight, share)
        if share != "executed_consideration":
            return split
        return split.with_columns(pl.col(share) - (pl.len().over(group) > 1).cast(pl.Int128))

    monkeypatch.setattr(execution, "split", one_less)
    batch = run_batch("b", 4, 6, ALL, _alone)
    assert batch.case is not None
    assert batch.difference is not None
    assert "check allocations_equal_executions" in batch.difference.kinds()
    aim = {"check allocations_equal_executions"}
    small, difference = Shrinker(_alone, aim=aim, tries_max=6).shrink(batch.case, batch.difference)
    assert sum(1 for _ in small.rows()) < sum(1 for _ in batch.case.rows()) * 2 // 3
    small.write(tmp_path / "small")
    again = replay(Case.read(tmp_path / "small"), _alone)
    assert again is not None
    assert again.text() == difference.text()
    monkeypatch.setattr(execution, "split", honest)
    assert replay(small, _alone) is None


def test_worlds_of_a_scheme_do_not_meet() -> None:
    case = run_batch("e", 3, 4, ALL, _alone).case
    assert case is not None
    together = _pots_of("W01", case)
    assert len(together) > 20
    assert _pots_of("W01", case.filtered(lambda row: tags(row) <= {"W01"})) == together


def _pots_of(tag: str, case: Case) -> list[tuple[object, ...]]:
    """Return what every day says of the pots and instructions of one world."""
    player, told = Player(case, None), []
    for day, files in case.days:
        assert player.day(day, files) is None
        figures = player.figures(day)
        for table in ("balances", "trades", "instructions"):
            mine = [(k, v) for k, v in figures[table].items() if tag in str(k)]
            told += [(day, table, *row) for row in sorted(mine, key=str)]
    player.close()
    return told


def test_a_seed_always_draws_the_same_case(tmp_path: Path) -> None:
    first, second = (run_batch("c", 3, 3, ALL, _alone).case for _ in range(2))
    assert first is not None
    assert first == second
    first.write(tmp_path / "case")
    read = Case.read(tmp_path / "case")
    assert (read.seed, read.cutoff, read.timezone) == (first.seed, first.cutoff, first.timezone)
    for (day, files), (day_read, files_read) in zip(first.days, read.days, strict=True):
        assert day == day_read
        whole = [
            (feed, [{c: row.get(c, "") for c in contracts.feed(feed).column_names} for row in rows])
            for feed, rows in files
        ]
        assert whole == files_read


def test_calendars_differ_and_the_run_dates_are_business_dates() -> None:
    generator = Generator("d", 2, 10, ALL, Counter())
    closed = {(r["calendar_id"], date.fromisoformat(r["holiday"])) for r in generator.holidays}
    assert len({calendar for calendar, _ in closed}) > 1
    assert not {("DEALING", day) for day in generator.dates} & closed
    steps = [b - a for a, b in zip(generator.dates, generator.dates[1:], strict=False)]
    assert min(steps) >= timedelta(days=1)


def test_kinds_are_chosen_by_group_and_name() -> None:
    assert chosen_kinds("all") == set(GROUP_OF)
    assert "amended_after_booking" not in chosen_kinds("all,-corrections")
    assert chosen_kinds("silent,filled") == {"silent", "filled"}
    with pytest.raises(ValueError, match="found 'nonsense'"):
        chosen_kinds("all,-nonsense")
