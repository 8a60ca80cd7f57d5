"""The definitions as Dagster sees them: they load, and the graph is the one on file.

`UPDATE_SNAPSHOT=1` writes the file anew; the difference is then read in the review.
"""

import os
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
import yaml

from acme.domain.calendars import CutOff
from acme.lakehouse import contracts
from acme.lakehouse.teams import DAY_TEAMS
from orchestration import calendar_file, definitions, locations
from orchestration.registry import (
    WRITTEN_BY_PUBLISHING,
    in_order,
    other_teams,
    processes,
    published_datasets,
)

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOTS = Path(__file__).parent
NOON = calendar_file.DealingCalendar(CutOff(calendar_file.time(12), "Europe/London"), ())
DAY = "business_day"
SELF_DEFINED = {"LandFiles": "land", "SealBatches": "deal", "PublishDate": "publish"}


@pytest.fixture(scope="module")
def loaded() -> dg.Definitions:
    """Return the definitions of a scheme without holidays."""
    return definitions.build(NOON)


def described(defs: dg.Definitions) -> str:
    """Return the graph as text, one line per part of it."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    lines = []
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        if not node.is_materializable:
            lines.append(f"asset {key.to_user_string()} made elsewhere")
            continue
        lines.append(f"asset {key.to_user_string()} group={node.group_name} owners={node.owners}")
        if node.automation_condition is not None:
            lines.append(f"  automation {node.automation_condition.get_label()}")
        if node.freshness_policy is not None:
            policy = node.freshness_policy
            lines.append(f"  deadline {policy.deadline_cron} {policy.timezone}")
        lines += [f"  from {parent.to_user_string()}" for parent in sorted(node.parent_keys)]
    for check in sorted(graph.asset_check_keys):
        spec = graph.get_check_spec(check)
        on = check.asset_key.to_user_string()
        lines.append(f"check {check.name} on {on} blocking={spec.blocking}")
    for job in sorted(repository.get_all_jobs(), key=lambda j: j.name):
        if not job.name.startswith("__"):
            lines.append(f"job {job.name} steps={len(job.nodes)}")
    lines += [
        f"schedule {s.name} job={s.job_name} cron={s.cron_schedule} zone={s.execution_timezone}"
        for s in repository.schedule_defs
    ]
    lines += [
        f"sensor {s.name} jobs={[t.job_name for t in s.targets]} every={s.minimum_interval_seconds}"
        for s in repository.sensor_defs
        if s.name != "default_automation_condition_sensor"
    ]
    return "\n".join(lines) + "\n"


def location(name: str) -> dg.Definitions:
    """Return the definitions of a location."""
    return definitions.build(NOON) if name == DAY else locations.build(name, NOON)


@pytest.mark.parametrize("name", [DAY, *other_teams()])
def test_the_graph_is_the_one_on_file(name: str) -> None:
    text = described(location(name))
    snapshot = SNAPSHOTS / ("graph.snapshot.txt" if name == DAY else f"graph.{name}.snapshot.txt")
    if os.environ.get("UPDATE_SNAPSHOT"):
        snapshot.write_text(text, "utf-8")
    assert snapshot.read_text("utf-8") == text, "changed on purpose? UPDATE_SNAPSHOT=1"


@pytest.mark.parametrize("name", [DAY, *other_teams()])
def test_definitions_are_valid(name: str) -> None:
    dg.Definitions.validate_loadable(location(name))


def test_workspace_yaml_names_what_can_be_loaded() -> None:
    for team in other_teams():
        assert getattr(locations, team)().get_repository_def()
    with pytest.raises(AttributeError, match="assets/ has no team 'nobody'"):
        getattr(locations, "nobody")  # noqa: B009  as Dagster reads the attribute


def test_morning_and_dealing_are_the_whole_day(loaded: dg.Definitions) -> None:
    def assets(job: str) -> set[dg.AssetKey]:
        return set(loaded.resolve_job_def(job).asset_layer.executable_asset_keys)

    assert assets("morning") | assets("dealing") == assets("business_day")
    assert not assets("morning") & assets("dealing")


def test_every_folder_declares_its_process() -> None:
    folders = [p for p in (ROOT / "assets").glob("*/*") if p.is_dir() and p.name[0] not in "._"]
    assert folders
    for folder in folders:
        document = yaml.safe_load((folder / "defs.yaml").read_text("utf-8"))
        archetype = document["type"].rpartition(".")[2]
        attributes = document["attributes"]
        assert ("stage" in attributes) == (folder.parent.name in DAY_TEAMS), folder
        # What an archetype does itself needs no process.py.
        itself = archetype in SELF_DEFINED or archetype == "DbtModels"
        assert (folder / "process.py").exists() or itself, folder
        assert folder.parent.name in DAY_TEAMS or (folder / "README.md").exists(), folder
        if archetype in SELF_DEFINED:
            assert attributes["stage"] == SELF_DEFINED[archetype]
        polars = [c for c in attributes.get("checks", ()) if c.get("engine", "polars") == "polars"]
        assert (folder / "checks.py").exists() == bool(polars), folder


def test_what_processes_name_has_a_contract() -> None:
    tables = {c.dataset for c in contracts.all_tables()}
    feeds = set(contracts.FEED_ORDER)
    for folder, (_, spec) in processes().items():
        named = {*spec.reads, *spec.reads_previous, *spec.writes}
        for check in spec.checks:
            named |= {*check.reads, *check.reads_previous, check.on}
            assert check.on in spec.writes, (folder, check.name)
        assert named <= tables, (folder, named - tables)
        assert {*spec.feeds, *spec.accepted} <= feeds, folder
        assert set(spec.accepted) <= set(spec.feeds), folder


def test_every_table_is_written_by_exactly_one_process() -> None:
    writers = Counter(d for _, spec in processes().values() for d in spec.writes)
    assert {d: n for d, n in writers.items() if n > 1} == {}
    day = {c.dataset for c in contracts.all_tables() if c.schema_name in ("core", "stage")}
    assert set(writers) == day
    core = {d for d in day if d.startswith("core.")}
    assert set(published_datasets()) == core - WRITTEN_BY_PUBLISHING


def test_every_check_has_its_own_name() -> None:
    names = Counter(check.name for _, spec in processes().values() for check in spec.checks)
    assert {name: n for name, n in names.items() if n > 1} == {}


def test_the_order_of_the_day_follows_the_stages() -> None:
    stages = ["land", "post", "reconcile", "decide", "deal", "publish"]
    order = [stages.index(spec.stage) for _, spec in in_order()]
    assert order.index(stages.index("decide")) > order.index(stages.index("post"))
    assert order[-1] == stages.index("publish")
    written: set[str] = set()
    for _, spec in in_order():
        assert set(spec.reads) <= written
        written |= set(spec.writes)
    with_feeds = [
        spec for _, spec in in_order() if spec.feeds and "core.run_inputs" not in spec.writes
    ]
    # Files are read only once the set of inputs is fixed.
    assert all("core.run_inputs" in spec.reads for spec in with_feeds)
