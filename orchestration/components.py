"""The archetypes of processes as Dagster components: a folder with a `defs.yaml` becomes assets.

One multi-asset per process, one asset per table it writes, one asset check per check it declares.
Owners, kinds, groups, metadata and dependencies are derived here and never typed by a team.
"""

from collections.abc import Iterator
from typing import Literal

import dagster as dg
import polars as pl

from acme.evidence.versions import code_version
from acme.lakehouse.home import Home
from acme.lakehouse.lake import Partition, dataset_contract
from orchestration import calendar_file, pictures
from orchestration.archetypes import EXECUTORS
from orchestration.partitions import business_dates
from orchestration.registry import spec_of
from orchestration.resources import BusinessDay
from orchestration.shell import CheckSpec, ProcessSpec

Stage = Literal["land", "post", "reconcile", "decide", "deal", "publish"]
# The column by which a table's rows are worth counting in a picture.
PICTURED = {
    "core.orders": "kind",
    "core.order_events": "to_state",
    "core.rebalancing_decisions": "outcome",
    "core.rebalancing_trades": "asset_id",
    "core.reconciliation_breaks": "class",
    "core.landed_files": "feed",
}


class Check(dg.Model, dg.Resolvable):
    """A check: a function of the same name in the process's `checks.py`, or dbt's second engine."""

    name: str
    on_dataset: str
    description: str
    reads: list[str]
    reads_previous: list[str] = []
    blocking: bool = True
    engine: Literal["polars", "dbt"] = "polars"


class DayProcess(dg.Component, dg.Model, dg.Resolvable):
    """A pure process of the business day: `process.py` with `run(day, inputs)`."""

    stage: Stage
    owner: str
    description: str
    reads: list[str] = []
    reads_previous: list[str] = []
    feeds: list[str] = []
    accepted: list[str] = []
    writes: list[str]
    checks: list[Check] = []

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the process's assets and checks."""
        folder = "/".join(context.path.parts[-2:])
        attributes = self.model_dump()
        spec = spec_of(folder, attributes)
        archetype = type(self).__name__
        partitions = business_dates(calendar_file.read(Home.from_env()))
        return dg.Definitions(
            assets=[_assets(self, spec, archetype, partitions)],
            asset_checks=[_check(spec, check, partitions) for check in spec.checks],
        )


class LookBack(DayProcess):
    """A pure process that also reads rows of its own choice from earlier runs.

    `wanted(day, inputs)` names what it looks for, its column `dealing_date` where to begin;
    `found` picks from the first table of `looks_back`; the others are read of the same runs.
    """

    looks_back: list[str]


class LandFiles(DayProcess):
    """Fixes the set of landed files that a run reads."""


class SealBatches(DayProcess):
    """Seals and signs the batches of a run."""


class PublishDate(DayProcess):
    """Publishes a date whole, then sends its files."""


def asset_key(dataset: str) -> dg.AssetKey:
    """Return the asset of a dataset: [schema, table]."""
    return dg.AssetKey(dataset.split("."))


def _assets(
    process: DayProcess, spec: ProcessSpec, archetype: str, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    # What a run reads of the run before it is no dependency of the graph: it would be a circle.
    upstream = sorted(
        {*spec.reads, *(["core.run_inputs"] if spec.feeds else [])} - set(spec.writes)
    )
    specs = [
        dg.AssetSpec(
            key=asset_key(dataset),
            deps=[asset_key(d) for d in upstream],
            group_name=process.stage,
            owners=[process.owner],
            kinds={"polars", "parquet"},
            description=f"{dataset_contract(dataset).purpose}\n\n{process.description}",
            code_version=code_version(),
            metadata={
                "process": spec.folder,
                "contract": f"data_contracts/{_contract_file(dataset)}",
                "reads_of_the_run_before": ", ".join(spec.reads_previous) or "nothing",
                "looks_back_for": ", ".join(spec.looks_back) or "nothing",
                "key": ", ".join(dataset_contract(dataset).key),
            },
            tags={"team": process.owner.removeprefix("team:"), "stage": process.stage},
        )
        for dataset in spec.writes
    ]

    @dg.multi_asset(
        name=spec.folder.replace("/", "__"),
        specs=specs,
        partitions_def=partitions,
        can_subset=False,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
    )
    def compute(
        context: dg.AssetExecutionContext, business_day: BusinessDay
    ) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
        run = business_day.run
        written = EXECUTORS[archetype](run, spec)
        context.log.info(
            "%s of %s: %s",
            spec.folder,
            run.run_date,
            ", ".join(f"{d} {p.rows}" for d, p in sorted(written.items())),
        )
        for dataset, partition in written.items():
            yield dg.MaterializeResult(
                asset_key=asset_key(dataset),
                metadata=_metadata(dataset, partition, run.outputs[dataset]),
                data_version=dg.DataVersion(partition.sha256),
            )

    return compute


def _contract_file(dataset: str) -> str:
    schema, name = dataset.split(".")
    return f"{'stage/' if schema == 'stage' else ''}{name}.odcs.yaml"


def _metadata(dataset: str, partition: Partition, frame: pl.DataFrame) -> dict[str, object]:
    shown: dict[str, object] = {
        "dagster/row_count": partition.rows,
        "file_sha256": partition.sha256,
        **pictures.totals(frame),
    }
    if partition.rows:
        shown["preview"] = dg.MetadataValue.md(pictures.preview(frame))
    if dataset in PICTURED and partition.rows:
        column = PICTURED[dataset]
        picture = pictures.bars(f"rows by {column}", pictures.counts(frame, column))
        shown["picture"] = dg.MetadataValue.md(picture)
    return shown


def _check(
    spec: ProcessSpec, check: CheckSpec, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetChecksDefinition:
    others = sorted(set(check.reads) - {check.on})

    @dg.asset_check(
        asset=asset_key(check.on),
        name=check.name,
        description=check.description,
        blocking=check.blocking,
        additional_deps=[asset_key(d) for d in others],
        partitions_def=partitions,
    )
    def judge(
        context: dg.AssetCheckExecutionContext, business_day: BusinessDay
    ) -> dg.AssetCheckResult:
        del context
        passed, failures = business_day.run.run_check(spec, check)
        severity = dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
        metadata: dict[str, object] = {"failures": failures.height}
        if failures.height:
            metadata["first failures"] = dg.MetadataValue.md(pictures.preview(failures))
        return dg.AssetCheckResult(passed=passed, severity=severity, metadata=metadata)

    return judge
