"""Kinds of failure of a process: which may be tried again, and which never are.

`transient`: the world was not there for a moment; the step is tried again, a few times. `data`: a
file, a partition or a check is wrong; people must look. `permanent`: everything else.
Three things in Dagster try again, each of its own accord: the step, the run, and what automation
asks for. A class of failure stops the first, a tag on the run the second, and the third only asks
again when something new was published.
"""

from __future__ import annotations

from typing import Literal

import dagster as dg
import psycopg

from acme.domain.two_sides import SidesError
from acme.lakehouse.connections import DatabaseLostError
from acme.lakehouse.contracts import ContractViolation
from acme.lakehouse.control import ControlUnavailable, LockTimeout
from acme.lakehouse.lake import PartitionDamagedError, PartitionMissingError
from acme.lakehouse.landing import LandedFileDamaged
from orchestration.computing import OutputsError
from orchestration.team_run import ChecksFailedError

Kind = Literal["transient", "data", "permanent"]
TRANSIENT = (
    DatabaseLostError,
    ControlUnavailable,
    LockTimeout,
    psycopg.OperationalError,
    ConnectionError,
    TimeoutError,
)
DATA = (
    ChecksFailedError,
    ContractViolation,
    LandedFileDamaged,
    PartitionDamagedError,
    PartitionMissingError,
    SidesError,
)
RETRIES = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL)
NO_RUN_RETRY = {"dagster/retry_on_asset_or_op_failure": "false", "dagster/max_retries": "0"}


def kind_of(error: BaseException) -> Kind:
    """Return the kind of a failure; also of the error that an error was raised from."""
    if isinstance(error, OutputsError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, TRANSIENT):
        return "transient"
    return "data" if isinstance(error, DATA) else "permanent"


def as_failure(error: Exception) -> Exception:
    """Return what the step should raise: a transient error as it is, others never tried again."""
    kind = kind_of(error)
    if kind == "transient":
        return error
    return dg.Failure(
        description=str(error) or type(error).__name__,
        metadata={"kind": kind, "error": type(error).__name__},
        allow_retries=False,
    )


@dg.failure_hook(name="no_retry_of_what_would_fail_again")
def no_run_retry(context: dg.HookContext) -> None:
    """Stamp the run of a failure that is not transient, so that the run is not tried again."""
    error = context.op_exception
    if isinstance(error, dg.Failure) and not error.allow_retries:
        context.instance.add_run_tags(context.run_id, NO_RUN_RETRY)
