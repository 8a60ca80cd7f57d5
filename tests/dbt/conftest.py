"""A small scheme run for three dates, once for all tests of dbt."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time
from urllib.parse import urlsplit

import psycopg
import pytest

from acme.lakehouse.control import RunLock
from acme.lakehouse.home import Home
from acme.lakehouse.landing import sweep_inbox
from acme.lakehouse.platform import Platform, initialise
from orchestration.archetypes import EXECUTORS
from orchestration.registry import in_order
from orchestration.shell import Run
from simulator.world import World

POTS, SEED = 25, 7


@dataclass(frozen=True)
class Ledger:
    """An installation and the dates that were run in it, in order."""

    platform: Platform
    dates: tuple[date, ...]


@pytest.fixture(scope="session")
def ledger(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    name = f"test_dbt_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    home = Home(tmp_path_factory.mktemp("dbt") / "home")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ACME_CLOCK", "event")
            patch.setenv("ACME_POSTGRES_URL", url)
            patch.setenv("ACME_HOME", str(home.root))
            platform = initialise(home, "USD", time(12), "Europe/London")
            yield Ledger(platform, _run_three_dates(platform))
            platform.lake.close()
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _run_three_dates(platform: Platform) -> tuple[date, ...]:
    world = World(platform.home.root, SEED, POTS, date(2020, 6, 1), date(2020, 6, 3))
    world.reference()
    dates = tuple(world.business_dates())
    for run_date in dates:
        world.before(run_date)
        sweep_inbox(platform.home, platform.control)
        with RunLock(platform.url, run_date) as lock:
            run = Run(platform, lock, run_date)
            for archetype, spec in in_order():
                EXECUTORS[archetype](run, spec)
                for check in spec.checks:
                    run.run_check(spec, check)
    return dates
