"""What a kind of process does around its pure part: land files, seal batches, publish a date.

`EXECUTORS` maps an archetype's name, as a `defs.yaml` gives it, to the function that runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import polars as pl

from acme.domain import batching
from acme.domain.booking import CANARY_BOOK, CANARY_CUSTODIAN
from acme.domain.calendars import Calendars
from acme.domain.day import Day
from acme.domain.pricing import prices_of
from acme.domain.reference import assets_on
from acme.evidence import seals
from acme.evidence.keys import salt_key, signing_key
from acme.lakehouse.control import DatasetManifest, Dispatch, LandedFile
from acme.lakehouse.failpoints import reach
from acme.lakehouse.hashing import content_hash_of_enforced
from acme.lakehouse.home import event_clock
from acme.lakehouse.intake import DrainedFile
from acme.lakehouse.lake import Partition, dataset_contract
from acme.lakehouse.served import OrderState
from acme.operations import dispatch
from orchestration.registry import blocking_checks, published_datasets
from orchestration.shell import PARTS, DayRefusedError, Run
from orchestration.specs import ProcessSpec


def compute(run: Run, spec: ProcessSpec) -> dict[str, Partition]:
    """Run a pure process; the first of the dealing part asks what the morning proved."""
    if spec.stage == "decide" and "core.orders" in spec.reads:
        problems = run.unproven("morning", blocking_checks("morning"))
        if problems:
            raise DayRefusedError(
                f"dealing of {run.run_date} waits for its morning: {'; '.join(problems)}"
            )
    return run.execute(spec)


# ---- look back -------------------------------------------------------------------------------


def look_back(run: Run, spec: ProcessSpec) -> dict[str, Partition]:
    """Run a process that reads rows of its own choice from earlier runs; seldom any."""
    module = spec.module("process")
    frames = run.inputs(spec)
    day = run.day()
    needed = module.wanted(day, frames)
    first, *others = spec.looks_back
    since = needed["dealing_date"].min()
    dates = [] if since is None else run.dates_since(since)
    rows = module.found(day, frames, needed, run.history(first, dates))
    frames[f"history.{first}"] = rows
    for dataset in others:
        frames[f"history.{dataset}"] = run.history(dataset, rows["run_date"].unique().to_list())
    return run.write(spec, module.run(day, frames))


# ---- land -----------------------------------------------------------------------------------


def land(run: Run, spec: ProcessSpec) -> dict[str, Partition]:
    """Fix what the run reads: its files, and the holidays by which its dates are counted."""
    known = run.previous(spec.reads_previous)["previous.core.holidays"]
    add = spec.module("process").holidays
    offered = run.control.offered_files(run.run_date)
    day = run.day(add(known, run.feed("holidays", offered), run.run_date))
    refuse_out_of_turn(run, day.calendars)
    run.drain_inbox()
    by_event = event_clock(run.platform.home)
    reach("inputs.fix:before")
    fixed = run.control.fix_run_inputs(
        run.run_date,
        day.cut_off.instant(run.run_date) if by_event else None,
        epoch=run.lock.epoch,
    )
    reach("inputs.fix:after")
    received = day.cut_off_instant if by_event else None
    files = _files_frame(fixed, received)
    accepted = files.filter(pl.col("verdict") == "accepted")
    return run.write(
        spec,
        {
            "core.landed_files": files,
            "core.run_inputs": accepted.select("sequence", "feed", "file_sha256"),
            "core.holidays": add(known, run.feed("holidays", fixed), run.run_date),
            "stage.inbox_control": _inbox_control(run.left_the_inbox()),
        },
    )


def _inbox_control(files: list[DrainedFile]) -> pl.DataFrame:
    return pl.DataFrame(
        [(f.feed, f.file_sha256, f.rows, f.content_sha256) for f in files],
        schema={
            "feed": pl.String,
            "file_sha256": pl.String,
            "rows": pl.Int64,
            "content_sha256": pl.String,
        },
        orient="row",
    )


def refuse_out_of_turn(run: Run, calendars: Calendars) -> None:
    """Raise `DayRefusedError` unless T is a business date and the one before it is published."""
    dealing = calendars.dealing
    if not dealing.is_business_date(run.run_date):
        raise DayRefusedError(f"{run.run_date} is not a business date of the scheme")
    currency = run.control.scheme().currency
    if not run.control.known("asset", [currency]):
        raise DayRefusedError(
            f"{run.run_date} cannot run: no assets file has a row for the scheme's currency"
            f" {currency}, which names the custodian of the cash; land assets first"
        )
    last = run.control.last_published()
    if last is None or run.control.is_published(run.run_date):
        return
    due = dealing.next(last.run_date)
    if run.run_date != due:
        raise DayRefusedError(
            f"{run.run_date} cannot run: the last published date is {last.run_date}, so {due} must"
            " be run and published first"
        )


def _files_frame(files: list[LandedFile], received: object) -> pl.DataFrame:
    rows = [
        (
            f.sequence,
            f.feed,
            f.name,
            f.file_sha256,
            f.size,
            f.rows,
            received or f.received_at,
            f.verdict,
            f.findings,
        )
        for f in files
    ]
    return pl.DataFrame(
        rows,
        schema={
            "sequence": pl.Int64,
            "feed": pl.String,
            "name": pl.String,
            "file_sha256": pl.String,
            "size": pl.Int64,
            "rows": pl.Int64,
            "received_at": pl.Datetime("us", "UTC"),
            "verdict": pl.String,
            "findings": pl.String,
        },
        orient="row",
    )


# ---- seal -----------------------------------------------------------------------------------


def seal(run: Run, spec: ProcessSpec) -> dict[str, Partition]:
    """Seal the batch of every book, also an empty one, onto the chain of earlier seals."""
    frames = run.inputs(spec)
    day = run.day()
    home = run.platform.home
    prices = prices_of(frames["stage.price_book"], day.as_of).sort("asset_id")
    rules_version, code_version = run.sealing_versions()
    terms = seals.SealTerms(
        dealing_date=day.run_date,
        price_date=day.as_of,
        price_version=seals.frame_sha256(prices, ["asset_id", "closing_price"]),
        rules_version=rules_version,
        code_version=code_version,
    )
    earlier = dict(frames["previous.core.dealing_batches"].select("book", "seal").iter_rows())
    books = sorted(set(frames["core.pots"]["book"]) | {"live"})
    rows = []
    for book in books:
        orders = frames["stage.batched_orders"].filter(pl.col("book") == book)
        lines = frames["core.batch_lines"].filter(pl.col("book") == book)
        header = seals.seal_header(
            batching.batch_id(day.run_date, book),
            orders,
            lines,
            terms,
            earlier.get(book, seals.NO_SEAL),
            salt_key(home),
        )
        rows.append(
            {
                "book": book,
                "batch_id": header.batch_id,
                "dealing_date": day.run_date,
                "order_count": header.order_count,
                "line_count": lines.height,
                "price_date": day.as_of,
                "price_version": header.price_version,
                "rules_version": header.rules_version,
                "code_version": header.code_version,
                "previous_seal": header.previous_seal,
                "merkle_root": header.merkle_root,
                "seal": header.seal(),
                "signature": seals.sign(header, signing_key(home)),
                "known_at": day.known_at,
            }
        )
    return run.write(
        spec,
        {
            "core.dealing_batches": pl.DataFrame(rows).with_columns(
                pl.col("order_count", "line_count").cast(pl.Int64),
                pl.col("known_at").cast(pl.Datetime("us", "UTC")),
            )
        },
    )


# ---- publish --------------------------------------------------------------------------------


def publish(run: Run, spec: ProcessSpec) -> dict[str, Partition]:
    """Publish the date and then send its files; refuse while any blocking check is not proven."""
    problems = [problem for part in PARTS for problem in run.unproven(part, blocking_checks(part))]
    if problems:
        raise DayRefusedError(f"{run.run_date} is not published: {'; '.join(problems)}")
    stated = statement(run, spec)
    written = run.write(spec, stated.tables)
    run.lock.check()
    reach("publish.commit:before")
    run.control.publish(
        run_date=run.run_date,
        epoch=run.lock.epoch,
        manifest=stated.manifest,
        seals=stated.seals,
        snapshot_id=run.lake.snapshot(),
        dispatches=stated.dispatches,
        order_states=order_states(run.inputs(spec)),
    )
    reach("publish.commit:after")
    dispatch.send_all(run.platform)
    return written


@dataclass(frozen=True)
class Statement:
    """What a date states of itself when it is published: hashes, seals, the files to send."""

    tables: dict[str, pl.DataFrame]
    manifest: dict[str, DatasetManifest]
    seals: dict[str, str]
    dispatches: list[Dispatch]


def statement(run: Run, spec: ProcessSpec) -> Statement:
    """Return what publishing the date would state; nothing is written."""
    frames = run.inputs(spec)
    listed = _content_hashes(run)
    tables = {
        "core.check_results": _check_results(run),
        "core.publications": pl.DataFrame(
            [(d, p.rows, p.content_sha256) for d, p in sorted(listed.items())],
            schema={"dataset": pl.String, "rows": pl.Int64, "content_sha256": pl.String},
            orient="row",
        ),
    }
    seals_of = dict(frames["core.dealing_batches"].select("batch_id", "seal").iter_rows())
    return Statement(tables, listed, seals_of, _dispatches(run.day(), frames))


def order_states(frames: dict[str, pl.DataFrame]) -> list[OrderState]:
    """Return the newest state of every order that moved, and what is known of its order."""
    columns = ["order_id", "source", "source_ref", "book", "pot_id", "dealing_date"]
    orders = pl.concat(
        [
            frames[d].select(columns)
            for d in (
                "core.orders",
                "stage.open_orders",
                "stage.posted_orders",
                "previous.stage.open_orders",
            )
        ]
    ).unique("order_id", keep="first")
    batches = frames["stage.batched_orders"].select("order_id", "batch_id")
    newest = (
        frames["core.order_events"].sort("order_id", "sequence").group_by("order_id").last()
    ).select("order_id", "to_state", "reason")
    rows = newest.join(orders, on="order_id", how="left").join(batches, on="order_id", how="left")
    told = rows.sort("order_id").select(*columns, "to_state", "reason", "batch_id")
    return [OrderState(*row) for row in told.iter_rows()]


def _content_hashes(run: Run) -> dict[str, DatasetManifest]:
    """Return what the date consists of: rows and content hash of every published table."""
    listed = {}
    for dataset in published_datasets():
        frame = run.lake.read(run.run_date, [dataset])[dataset]
        content = content_hash_of_enforced(dataset_contract(dataset), frame)
        listed[dataset] = DatasetManifest(frame.height, content)
    return listed


def _check_results(run: Run) -> pl.DataFrame:
    rows = [
        dispatch.check_row(outcome)
        for part in PARTS
        for outcome in run.control.outcome(run.run_date, part)
    ]
    return pl.DataFrame(
        rows,
        schema={
            "check_name": pl.String,
            "passed": pl.Boolean,
            "blocking": pl.Boolean,
            "failures": pl.Int64,
            "detail": pl.String,
        },
        orient="row",
    )


def _dispatches(day: Day, frames: dict[str, pl.DataFrame]) -> list[Dispatch]:
    """Return the files of every custodian; one with no row is written too (`rules §6`)."""
    assets = assets_on(frames["core.assets"], day.run_date)
    cash_at = str(assets.filter(pl.col("asset_id") == day.currency)["custodian_id"][0])
    custodians = set(assets["custodian_id"])
    cash_custodians = {cash_at}
    if CANARY_BOOK in set(frames["core.pots"]["book"]):
        custodians.add(CANARY_CUSTODIAN)
        cash_custodians.add(CANARY_CUSTODIAN)
    files = []
    for custodian in sorted(custodians):
        mine = frames["core.instructions"].filter(pl.col("custodian_id") == custodian)
        files.append(
            _dispatch(day.run_date, custodian, "instructions.csv", batching.instruction_file(mine))
        )
        if custodian in cash_custodians:
            moved = frames["core.cash_movements"].filter(pl.col("custodian_id") == custodian)
            files.append(_dispatch(day.run_date, custodian, "cash.csv", batching.cash_file(moved)))
    return files


def _dispatch(run_date: date, custodian: str, name: str, content: bytes) -> Dispatch:
    return Dispatch.of(run_date, custodian, name, content)


EXECUTORS: dict[str, Callable[[Run, ProcessSpec], dict[str, Partition]]] = {
    "LandedFeed": compute,
    "Calculation": compute,
    "Reconciliation": compute,
    "LookBack": look_back,
    "LandFiles": land,
    "SealBatches": seal,
    "PublishDate": publish,
}
