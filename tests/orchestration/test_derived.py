"""What follows from a `defs.yaml`: the asset, its dependencies, deadline, checks, retries."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from acme.domain.calendars import CutOff
from acme.lakehouse.home import Home
from acme.lakehouse.platform import Platform
from orchestration import calendar_file, failures, locations
from orchestration.automation import PUBLICATIONS
from tests.orchestration.folders import Folders

NEW_YORK = calendar_file.DealingCalendar(CutOff(calendar_file.time(12), "America/New_York"), ())
PROCESS = "def run(day, inputs):\n    return {}\n"
CHECKS = "def never_empty(day, inputs):\n    return inputs['treasury.fees'].clear()\n"
KEY = dg.AssetKey(["treasury", "fees"])
DATE = "2024-03-28"


def loaded(folders: Folders, archetype: str = "Calculation", **attributes: object) -> Any:
    """Return the graph of a team with one process."""
    folders.contract("treasury.fees", {"fee_id": "VARCHAR"}, {"amount": "DECIMAL(18,2)"})
    folders.contract("feed.invoices", {"fee_id": "VARCHAR"}, {}, team="treasury")
    code = CHECKS if "checks" in attributes else ""
    if archetype == "DbtModels":
        model = folders.assets / "treasury/fees/models/fees.sql"
        model.parent.mkdir(parents=True)
        model.write_text("select 1", "utf-8")
    folders.process(
        "treasury/fees",
        archetype,
        PROCESS,
        checks_code=code,
        writes=["treasury.fees"],
        **attributes,
    )
    return locations.build("treasury", NEW_YORK).get_repository_def().asset_graph


@pytest.fixture(autouse=True)
def _new_york(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.calendar_file.read", lambda home: NEW_YORK)


def test_all_that_follows_from_few_lines(folders: Folders) -> None:
    graph = loaded(
        folders,
        owner="ann@example.com",
        reads=["core.pots", "member_services.valuation_lines"],
        reads_previous=["core.assets"],
        feeds=["invoices"],
        deadline="16:30",
        checks=[
            {
                "name": "never_empty",
                "on_dataset": "treasury.fees",
                "description": "x",
                "reads": ["treasury.fees"],
                "blocking": False,
            }
        ],
    )
    node = graph.get(KEY)
    assert node.owners == ["team:treasury", "ann@example.com"]
    assert node.group_name == "fees"
    assert node.kinds == {"polars", "parquet"}
    assert node.parent_keys == {
        PUBLICATIONS,
        dg.AssetKey(["core", "pots"]),
        dg.AssetKey(["core", "run_inputs"]),
        dg.AssetKey(["member_services", "valuation_lines"]),
    }
    assert (node.tags["team"], node.tags["archetype"]) == ("treasury", "Calculation")
    assert node.tags["automation"] == "on_publication"
    assert node.metadata["contract"] == "data_contracts/treasury/fees.odcs.yaml"
    assert node.metadata["contract_version"] == "1.0.0"
    assert node.metadata["runbook"].value == "assets/treasury/fees/README.md"
    assert node.metadata["deadline"] == "16:30"
    assert node.partitions_def.has_partition_key(DATE)
    assert not node.partitions_def.has_partition_key("2024-03-30")
    assert node.freshness_policy == dg.FreshnessPolicy.cron(
        "30 16 * * 1-5", timedelta(hours=24), "America/New_York"
    )
    assert node.automation_condition.get_label() == "on_publication"
    blocking = {k.name: graph.get_check_spec(k).blocking for k in graph.asset_check_keys}
    assert blocking == {"keeps_its_contract": True, "never_empty": False}
    step = node.assets_def
    assert step.op.retry_policy == failures.RETRIES
    assert step.hook_defs == {failures.no_run_retry}
    assert step.op.pool is None


def test_archetypes_bring_their_own(folders: Folders) -> None:
    graph = loaded(folders, "DbtModels")
    assert graph.get(KEY).kinds == {"dbt", "duckdb", "parquet"}
    assert graph.get(KEY).assets_def.op.pool == "dbt"


def test_the_command_waits_for_no_pool(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_POOLS", "off")
    assert loaded(folders, "DbtModels").get(KEY).assets_def.op.pool is None


def test_a_month_end_has_its_deadline_on_the_last_day(folders: Folders) -> None:
    node = loaded(folders, automation="month_end", deadline="16:00").get(KEY)
    assert node.freshness_policy == dg.FreshnessPolicy.cron(
        "0 16 L * *", timedelta(days=6), "America/New_York"
    )
    assert node.automation_condition.get_label() == "month_end"


def test_a_month_start_has_its_deadline_on_the_seventh(folders: Folders) -> None:
    node = loaded(folders, automation="month_start", deadline="16:00").get(KEY)
    assert node.freshness_policy == dg.FreshnessPolicy.cron(
        "0 16 7 * *", timedelta(days=7), "America/New_York"
    )
    assert node.automation_condition.get_label() == "month_start"


def test_manual_has_no_condition_and_no_deadline_no_policy(folders: Folders) -> None:
    node = loaded(folders, automation="manual").get(KEY)
    assert node.automation_condition is None
    assert node.freshness_policy is None


# ---- when it runs by itself ---------------------------------------------------------------------


def asked(
    defs: dg.Definitions, instance: dg.DagsterInstance, cursor: object = None
) -> tuple[set[str], object]:
    result = dg.evaluate_automation_conditions(
        defs=defs,
        instance=instance,
        cursor=cursor,
        evaluation_time=datetime(2024, 4, 3, tzinfo=UTC),
    )
    return set(result.get_requested_partitions(KEY)), result.cursor


@pytest.mark.parametrize(
    ("automation", "expected"),
    [
        ("on_publication", {"2024-03-27", "2024-03-29", "2024-04-01"}),
        ("month_start", {"2024-04-01"}),
        ("month_end", {"2024-03-29"}),
    ],
)
def test_it_runs_once_its_date_is_published(
    folders: Folders, automation: str, expected: set[str]
) -> None:
    loaded(folders, automation=automation, reads=["core.pots"])
    defs = locations.build("treasury", NEW_YORK)
    with dg.DagsterInstance.ephemeral() as instance:
        told, cursor = asked(defs, instance)
        assert told == set()
        for date in ("2024-03-27", "2024-03-28", "2024-03-29", "2024-04-01"):
            _made(instance, dg.AssetKey(["core", "pots"]), date)
        told, cursor = asked(defs, instance, cursor)
        assert told == set(), "not before the publication"
        for date in ("2024-03-27", "2024-03-29", "2024-04-01"):
            _made(instance, PUBLICATIONS, date)
        told, cursor = asked(defs, instance, cursor)
        assert told == expected
        told, _ = asked(defs, instance, cursor)
        assert told == set(), "once"


def _made(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))


# ---- what is tried again ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("gone"), "transient"),
        (failures.LockTimeout("held"), "transient"),
        (failures.DatabaseLostError("lost"), "transient"),
        (failures.PartitionDamagedError("bad"), "data"),
        (failures.SidesError("bad"), "data"),
        (ZeroDivisionError("code"), "permanent"),
    ],
)
def test_kinds_of_failure(error: Exception, kind: str) -> None:
    assert failures.kind_of(error) == kind
    raised = failures.as_failure(error)
    if kind == "transient":
        assert raised is error
    else:
        assert isinstance(raised, dg.Failure)
        assert raised.allow_retries is False
        assert raised.description == str(error)


@pytest.mark.parametrize(
    ("error", "tries", "stamped"),
    [(ConnectionResetError("gone"), 4, False), (ZeroDivisionError("code"), 1, True)],
)
def test_only_a_transient_failure_is_tried_again(
    folders: Folders,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    tries: int,
    stamped: bool,
) -> None:
    def fail(*_: object) -> None:
        seen.append(1)
        raise error

    seen: list[int] = []
    monkeypatch.setattr("orchestration.components.of_teams.run_process", fail)
    at_once = failures.RETRIES._replace(delay=None, backoff=None)
    monkeypatch.setattr("orchestration.components.of_teams.RETRIES", at_once)
    monkeypatch.setattr(
        "orchestration.resources.open_platform",
        lambda: Platform(Home.from_env(), "", None, _Closed()),  # type: ignore[arg-type]
    )
    loaded(folders)
    job = locations.build("treasury", NEW_YORK).resolve_job_def("treasury")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(partition_key=DATE, instance=instance, raise_on_error=False)
        assert not result.success
        assert len(seen) == tries
        tags = instance.get_run_by_id(result.run_id).tags
    assert (tags.get("dagster/retry_on_asset_or_op_failure") == "false") == stamped


class _Closed:
    def close(self) -> None:
        pass
