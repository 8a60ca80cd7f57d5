"""What every archetype has: the fields of a `defs.yaml`, and all that is derived from them.

One multi-asset per process, one asset per table it writes. A process of the business day (it has a
`stage`) and one of another team differ in the shell that runs them, not in what is declared.
"""

import os

import dagster as dg

from acme.evidence.versions import code_version, process_version
from acme.lakehouse.home import Home
from acme.lakehouse.lake import dataset_contract
from acme.lakehouse.teams import DAY_TEAMS
from orchestration import calendar_file, declarations, process_code
from orchestration.automation import condition
from orchestration.components import of_teams, of_the_day
from orchestration.components.shown import asset_key
from orchestration.deadlines import freshness
from orchestration.fields import ProcessFields
from orchestration.partitions import business_dates
from orchestration.registry import DeclarationError
from orchestration.specs import ProcessSpec, runbook_file, spec_of


class Process(ProcessFields, dg.Component, dg.Model, dg.Resolvable):
    """A process: a folder `assets/<team>/<process>/`. Unknown fields are refused."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the process's assets and checks. Raises DeclarationError."""
        folder = "/".join(context.path.parts[-2:])
        spec = spec_of(folder, type(self).__name__, self.model_dump())
        declarations.require(spec)
        calendar = calendar_file.read(Home.from_env())
        partitions = business_dates(calendar)
        specs = self.asset_specs(spec, calendar)
        if spec.team in DAY_TEAMS:
            return of_the_day.definitions(spec, specs, partitions)
        if wrong := list(process_code.missing(spec)):
            raise DeclarationError("; ".join(wrong))
        # What cannot be imported is told when its location loads, not at the first run.
        if spec.archetype != "DbtModels":
            spec.module("process")
        if spec.checks:
            spec.module("checks")
        pool = self.pool_name() if pools_are_taken() else None
        return of_teams.definitions(spec, specs, partitions, pool)

    def pool_name(self) -> str | None:
        """Return the pool whose slots the process takes; None for none."""
        return self.pool

    def kinds(self) -> set[str]:
        """Return what the process is made with, for its picture."""
        return {"polars", "parquet"}

    def asset_specs(
        self, spec: ProcessSpec, calendar: calendar_file.DealingCalendar
    ) -> list[dg.AssetSpec]:
        """Return one spec per table that the process writes."""
        of_day = spec.stage is not None
        return [
            dg.AssetSpec(
                key=asset_key(dataset),
                deps=[asset_key(d) for d in upstream(spec)],
                group_name=spec.stage or spec.name,
                owners=[f"team:{spec.team}", *([self.owner] if self.owner else [])],
                kinds=self.kinds(),
                description=f"{dataset_contract(dataset).purpose}\n\n{self.description}",
                code_version=code_version() if of_day else process_version(spec.path()),
                metadata=self._metadata(spec, dataset),
                tags={"team": spec.team, "archetype": type(self).__name__}
                | ({"stage": str(spec.stage)} if of_day else {"automation": spec.automation}),
                freshness_policy=freshness(spec, calendar),
                automation_condition=None if of_day else condition(spec),
            )
            for dataset in spec.writes
        ]

    def _metadata(self, spec: ProcessSpec, dataset: str) -> dict[str, object]:
        contract = dataset_contract(dataset)
        return {
            "process": spec.folder,
            "archetype": type(self).__name__,
            "contract": contract_file(dataset),
            "contract_version": contract.version,
            "runbook": dg.MetadataValue.path(runbook_file(spec)),
            "reads_of_the_run_before": ", ".join(spec.reads_previous) or "nothing",
            "looks_back_for": ", ".join(spec.looks_back) or "nothing",
            "key": ", ".join(contract.key),
        } | ({"deadline": spec.deadline} if spec.deadline else {})


def pools_are_taken() -> bool:
    """Say whether runs wait for a pool; those of the command do not, with ACME_POOLS=off.

    It runs one after the other, and one that was killed would keep its slot from the next until
    the daemon frees it, which need not be there.
    """
    return os.environ.get("ACME_POOLS", "on") != "off"


def upstream(spec: ProcessSpec) -> list[str]:
    """Return the datasets that a process waits for.

    What a run reads of the run before it is no dependency of the graph: it would be a circle.
    """
    waits = {*spec.reads, *(["core.run_inputs"] if spec.feeds else [])}
    if spec.stage is None:
        waits.add("core.publications")
    return sorted(waits - set(spec.writes))


def contract_file(dataset: str) -> str:
    """Return where a dataset's contract lies in the repository."""
    schema, name = dataset.split(".")
    return f"data_contracts/{'' if schema == 'core' else f'{schema}/'}{name}.odcs.yaml"
