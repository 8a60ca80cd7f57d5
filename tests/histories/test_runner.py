"""The runner in memory is the platform: every table of a random case, also through the lake."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from acme.lakehouse import contracts
from acme.lakehouse.landing import land_file
from tests.histories.batch import run_batch
from tests.histories.chance import chosen_kinds
from tests.histories.runner import OF_SEALS
from tests.scenarios.conftest import VARIABLES
from tests.scenarios.driver import ABOUT_FILES, ORIGIN, Scenario

# Figures of files, of keys made for one installation, and what only the lake's publishing writes.
NOT_COMPARED = {*ABOUT_FILES, *OF_SEALS, "core.check_results"}


def _figures(dataset: str, frame: pl.DataFrame) -> str:
    schema, name = dataset.split(".")
    hashed = {c.name for c in contracts.table(schema, name).hashed_columns}
    kept = frame.select(c for c in frame.columns if c in hashed and c not in ORIGIN)
    return kept.sort(kept.columns).write_csv()


def test_memory_and_lake_agree_on_every_table(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = run_batch("lake", 5, 3, chosen_kinds("all"), lambda _: None).case
    assert case is not None
    # The scenarios' own scheme.
    case.cutoff, case.timezone = "12:00", "Europe/London"
    case.write(tmp_path / "case")
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    scenario, memory = Scenario(tmp_path / "home", database), case.platform()
    compared = 0
    try:
        for day, files in case.days:
            for feed, rows in files:
                memory.land(feed, rows)
            for path in sorted((tmp_path / "case" / f"{day}").iterdir()):
                dated = path.rename(path.with_name(f"{day}_{path.name}"))
                feed = path.stem.split("_", 1)[1]
                land_file(scenario.home, scenario.platform.control, feed, dated)
            assert memory.run(day) == []
            scenario.run(day)
            for dataset in scenario.platform.lake.manifest(day).keys() - NOT_COMPARED:
                ours = _figures(dataset, memory.frame(dataset))
                assert ours == _figures(dataset, scenario.frame(dataset, day)), (day, dataset)
                compared += bool(ours.count("\n") > 1)
            sent = scenario.outbox()
            for (custodian, name), content in memory.outbox.items():
                assert sent[f"{custodian}/{day}/{name}"] == content, (day, custodian, name)
    finally:
        scenario.close()
        memory.close()
    # Tables with rows, not just empty ones.
    assert compared > 20 * len(case.days)
