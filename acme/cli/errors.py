"""Which errors are the user's to mend: the command prints their text and nothing else."""

from __future__ import annotations

import duckdb

from acme.evidence.pack import NotPublishedError
from acme.evidence.queries import QueryError
from acme.evidence.times import TimesError
from acme.gateway.key_management import KeyManagementError
from acme.lakehouse.connections import DatabaseLostError
from acme.lakehouse.contracts import ContractError
from acme.lakehouse.control import ControlError
from acme.lakehouse.home import ClockError
from acme.lakehouse.lake import LakeError
from acme.lakehouse.landing import LandedFileDamaged, LandingError
from acme.lakehouse.platform import NotInitialisedError
from acme.lakehouse.postgres import PostgresError
from acme.lakehouse.roles import RoleError
from acme.operations.breaks import NothingPublishedError


class CommandError(Exception):
    """What a command found wrong itself."""


KNOWN_ERRORS: tuple[type[Exception], ...] = (
    ClockError,
    CommandError,
    ContractError,
    ControlError,
    DatabaseLostError,
    KeyManagementError,
    LakeError,
    LandedFileDamaged,
    LandingError,
    NotInitialisedError,
    NotPublishedError,
    NothingPublishedError,
    PostgresError,
    QueryError,
    RoleError,
    TimesError,
    duckdb.Error,
    OSError,
)
