"""Assets and checks of another team's process: one step that reads, judges, writes and sends."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from orchestration.components.shown import asset_key, check_metadata, metadata
from orchestration.computing import KEEPS_ITS_CONTRACT, CheckResult
from orchestration.failures import RETRIES, as_failure, no_run_retry
from orchestration.resources import Installation
from orchestration.specs import ProcessSpec
from orchestration.team_run import ChecksFailedError, Outcome, run_process

# dagster-native results of a step; the library's own types for them are private.
Result = Any


def definitions(
    spec: ProcessSpec,
    specs: list[dg.AssetSpec],
    partitions: dg.DailyPartitionsDefinition,
    pool: str | None,
) -> dg.Definitions:
    """Return the process's one step; its checks are judged in it, before anything is written."""

    @dg.multi_asset(
        name=spec.folder.replace("/", "__"),
        specs=specs,
        check_specs=list(_check_specs(spec)),
        partitions_def=partitions,
        can_subset=False,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        retry_policy=RETRIES,
        hooks={no_run_retry},
        pool=pool,
    )
    def compute(context: dg.AssetExecutionContext, installation: Installation) -> Iterator[Result]:
        run_date = date.fromisoformat(context.partition_key)
        try:
            outcome = run_process(installation.platform, spec, run_date)
        except ChecksFailedError as error:
            yield from map(_check_result, error.results)
            raise as_failure(error) from error
        except Exception as error:
            raise as_failure(error) from error
        for name in outcome.left:
            context.log.info("%s of %s: %s left", spec.folder, run_date, name)
        yield from map(_check_result, outcome.checks)
        yield from _materialised(spec, outcome)

    return dg.Definitions(assets=[compute])


def _check_specs(spec: ProcessSpec) -> Iterator[dg.AssetCheckSpec]:
    for dataset in spec.writes:
        yield dg.AssetCheckSpec(
            KEEPS_ITS_CONTRACT,
            asset=asset_key(dataset),
            description="Columns, types, required values, limits and keys are as contracted.",
            blocking=True,
        )
    for check in spec.checks:
        yield dg.AssetCheckSpec(
            check.name,
            asset=asset_key(check.on),
            description=check.description,
            blocking=check.blocking,
        )


def _check_result(result: CheckResult) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        asset_key=asset_key(result.on),
        check_name=result.name,
        passed=result.passed,
        severity=severity,
        metadata=check_metadata(result.failures),
    )


def _materialised(spec: ProcessSpec, outcome: Outcome) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    counted = "class" if spec.archetype == "Reconciliation" and spec.keys else None
    for dataset, partition in outcome.written.items():
        shown = metadata(dataset, partition, outcome.tables[dataset], counted)
        yield dg.MaterializeResult(
            asset_key=asset_key(dataset),
            metadata={
                **shown,
                "version": outcome.versions[dataset],
                "left": ", ".join(outcome.left) or "nothing",
            },
            data_version=dg.DataVersion(partition.sha256),
        )
