"""Assets and checks of a process of the business day; they run in the run that holds its lock."""

from collections.abc import Iterator

import dagster as dg

from orchestration.archetypes import EXECUTORS
from orchestration.components.shown import asset_key, check_metadata, metadata
from orchestration.resources import BusinessDay
from orchestration.specs import CheckSpec, ProcessSpec


def definitions(
    spec: ProcessSpec, specs: list[dg.AssetSpec], partitions: dg.DailyPartitionsDefinition
) -> dg.Definitions:
    """Return one step that makes every table of the process, and one per declared check."""
    return dg.Definitions(
        assets=[_assets(spec, specs, partitions)],
        asset_checks=[_check(spec, check, partitions) for check in spec.checks],
    )


def _assets(
    spec: ProcessSpec, specs: list[dg.AssetSpec], partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
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
        written = EXECUTORS[spec.archetype](run, spec)
        context.log.info(
            "%s of %s: %s",
            spec.folder,
            run.run_date,
            ", ".join(f"{d} {p.rows}" for d, p in sorted(written.items())),
        )
        for dataset, partition in written.items():
            yield dg.MaterializeResult(
                asset_key=asset_key(dataset),
                metadata=metadata(dataset, partition, run.outputs[dataset]),
                data_version=dg.DataVersion(partition.sha256),
            )

    return compute


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
        return dg.AssetCheckResult(
            passed=passed, severity=severity, metadata=check_metadata(failures)
        )

    return judge
