"""The newest published date for reading: verified once, opened whole, swapped whole.

A request takes one `Snapshot` and reads nothing else: it sees all of one date or all of another.
Files are named by their hash and never change, so a snapshot stays readable as long as a request
holds it. Queries run in a few threads of their own, with predicates on sorted columns: memory is
bounded by row groups, not by the number of balances.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import polars as pl
import psycopg

from acme.gateway.connections import unreachable
from acme.gateway.inbox import unavailable
from acme.lakehouse.contracts import Contract
from acme.lakehouse.control import Control, ControlError, Publication
from acme.lakehouse.home import Home
from acme.lakehouse.lake import Lake, LakeError, Partition, PartitionDamagedError, dataset_contract
from acme.lakehouse.platform import Platform
from acme.lakehouse.postgres import PostgresError

T = TypeVar("T")
LOG: Final = logging.getLogger("acme.gateway")

LOOK_SECONDS: Final = 1.0
FIRST_SECONDS_MAX: Final = 10.0
READERS: Final = 2
# Reads that may wait for a reader; more are refused rather than kept.
WAITING_MAX: Final = 200
# Postgres, or the way to it.
GONE: Final = (
    ControlError,
    PostgresError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
BALANCES: Final = "core.ledger_balances"
POTS: Final = "core.pots"
PRICES: Final = "stage.price_book"
BATCHES: Final = "core.dealing_batches"


@dataclass(frozen=True)
class VerifiedFile:
    """A partition's Parquet file as it was when its SHA-256 was checked."""

    dataset: str
    contract: Contract
    path: Path | None
    seen: tuple[int, int, int] | None

    def where(self, column: str, value: str) -> pl.DataFrame:
        """Return the rows with a value; row groups that cannot have it are not read.

        Raises `PartitionDamagedError` if the file was touched since it was verified.
        """
        if self.path is None:
            return self.contract.empty()
        if _stamp(self.path) != self.seen:
            raise PartitionDamagedError(f"{self.dataset}: {self.path.name} was touched")
        scan = pl.scan_parquet(self.path, hive_partitioning=False, glob=False)
        return scan.filter(pl.col(column) == value).collect()


@dataclass(frozen=True)
class Snapshot:
    """One published date. `identity` is the hash of all it consists of.

    as_of: the close that balances show, the business date before. prices: asset → newest accepted
    price up to that close and its date.
    """

    run_date: date
    published_at: datetime
    as_of: date
    identity: str
    balances: VerifiedFile
    pots: VerifiedFile
    prices: Mapping[str, tuple[Decimal, date]]


class Published:
    """What is published: the newest date as a snapshot, earlier ones by date."""

    def __init__(self, home: Home, url: Callable[[], str]) -> None:
        """Keep where things are; nothing is opened yet. `url` finds the server, after each loss."""
        self._home, self._url = home, url
        self._platform: Platform | None = None
        self.newest: Snapshot | None = None
        self._looked = asyncio.Event()
        self._known = False
        self._waiting = 0
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="published")
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="published work")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="publication")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Published]:
        """Follow publications as long as the context lasts."""
        task = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            for threads in (self._readers, self._worker, self._loader):
                threads.shutdown(wait=False, cancel_futures=True)
            self._lose()

    @property
    def platform(self) -> Platform:
        """The installation, for reading in threads."""
        found = self._platform
        if found is None:
            url = self._url()
            found = Platform(self._home, url, Control(url), Lake(self._home, url))
            self._platform = found
        return found

    def _lose(self) -> None:
        """Look for the server anew next time; whoever still reads keeps what it has."""
        lost, self._platform = self._platform, None
        if lost is not None:
            lost.control.close()
            lost.lake.close()

    async def snapshot(self) -> Snapshot | None:
        """Return the newest published date, None before the first.

        `ProblemError` `unavailable` where it has not been possible to look yet.
        """
        try:
            async with asyncio.timeout(FIRST_SECONDS_MAX):
                await self._looked.wait()
        except TimeoutError as error:
            raise unavailable("what is published is still being verified") from error
        if not self._known:
            raise unavailable("what is published cannot be read yet")
        return self.newest

    async def read(self, query: Callable[[], T]) -> T:
        """Run a short query in a thread; `ProblemError` `unavailable` if it cannot be answered."""
        return await self._run(self._readers, query)

    async def work(self, query: Callable[[], T]) -> T:
        """Run what may take seconds, one at a time, as `read` does: no short query waits for it."""
        return await self._run(self._worker, query)

    async def _run(self, threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise unavailable(f"{WAITING_MAX} reads wait already")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(threads, call)
        except GONE as error:
            self._lose()
            raise unavailable("Postgres cannot be reached") from error
        except (LakeError, OSError, pl.exceptions.ComputeError) as error:
            LOG.exception("a published file cannot be read")
            raise unavailable("a published file cannot be read; it is logged") from error
        finally:
            self._waiting -= 1

    # ---- following -------------------------------------------------------------------------------

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                found = await loop.run_in_executor(self._loader, self._look)
            except GONE:
                # The date before stays as it is.
                LOG.warning("what is published cannot be asked: %s", unreachable())
                self._lose()
            except Exception:
                # Nothing of a date that cannot be verified shows; it is tried again.
                LOG.exception("the newest published date cannot be opened")
            else:
                self.newest, self._known = found, True
            # Whoever waits for the first look is answered, be it that it failed.
            self._looked.set()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> Snapshot | None:
        publication = self.platform.control.last_published()
        current = self.newest
        if publication is None:
            return None
        if current is not None and current.run_date == publication.run_date:
            return current
        return open_snapshot(self.platform, publication)


def open_snapshot(platform: Platform, publication: Publication) -> Snapshot:
    """Verify and open a published date; raises `LakeError` where a file is not what it was."""
    day, lake = publication.run_date, platform.lake
    manifest = lake.manifest(day)
    frames = lake.read(day, [PRICES, BATCHES])
    as_of: date = frames[BATCHES]["price_date"][0]
    prices = (
        frames[PRICES]
        .filter(pl.col("price_date") <= as_of)
        .sort("price_date")
        .group_by("asset_id", maintain_order=True)
        .last()
    )
    return Snapshot(
        run_date=day,
        published_at=publication.published_at,
        as_of=as_of,
        identity=identity(publication, manifest),
        balances=_verified(lake, day, BALANCES, manifest),
        pots=_verified(lake, day, POTS, manifest),
        prices={
            asset: (price, priced)
            for asset, price, priced in prices.select(
                "asset_id", "closing_price", "price_date"
            ).iter_rows()
        },
    )


def identity(publication: Publication, manifest: Mapping[str, Partition]) -> str:
    """Return the hash of a published date: its content hashes and those of its files."""
    digest = hashlib.sha256(f"{publication.run_date} {publication.published_at}\n".encode())
    for dataset, stated in sorted(publication.manifest.items()):
        digest.update(f"{dataset} {stated.rows} {stated.content_sha256}\n".encode())
    for dataset, partition in sorted(manifest.items()):
        digest.update(f"{dataset} {partition.sha256}\n".encode())
    return digest.hexdigest()


def _verified(
    lake: Lake, day: date, dataset: str, manifest: Mapping[str, Partition]
) -> VerifiedFile:
    path = lake.path(day, dataset, manifest[dataset])
    before = _stamp(path)
    verified = lake.verified_file(day, dataset, manifest[dataset])
    return VerifiedFile(dataset, dataset_contract(dataset), verified, before)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def envelope(run_date: date, published_at: datetime) -> dict[str, Any]:
    """Return the members that every answer from a published date carries."""
    return {"published_date": run_date, "published_at": published_at}
