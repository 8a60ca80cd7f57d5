"""People's work on breaks: what is published, what waits for the next run, what may be done.

An action lands as a file of feed `break_actions` and takes effect in the next run: what is
published never changes. Here it is judged beforehand by the rule that the run will apply.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import polars as pl

from acme.domain import break_workflow
from acme.domain.booking import CANARY_CUSTODIAN
from acme.domain.break_workflow import Action
from acme.lakehouse import contracts
from acme.lakehouse.lake import dataset_contract
from acme.lakehouse.landing import LandingReport, land_file, read_landed
from acme.lakehouse.platform import Platform
from acme.lakehouse.published_dates import require_published

BREAKS: Final = "core.reconciliation_breaks"
ACTIONS: Final = "core.break_actions"
SUSPENDED: Final = "core.suspended_assets"
ASSETS: Final = "core.assets"
FEED: Final = "break_actions"
LIVE: Final = ("open", "explained")
Row = dict[str, Any]
_ACTION_SCHEMA: Final[dict[str, pl.DataType]] = {
    name: break_workflow.OUTCOME_SCHEMA[name]
    for name in (
        *("action_id", "break_id", "action", "actor", "acted_at", "assignee", "comment"),
        "file_sha256",
    )
}


class NothingPublishedError(Exception):
    """No date is published, so that there is no break to act on."""


def classes() -> list[str]:
    """Return the classes of breaks, as the contract has them."""
    column = next(c for c in dataset_contract(BREAKS).columns if c.name == "class")
    return list(column.enum or ())


def for_spreadsheets(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `Desk.export` with an apostrophe before what a spreadsheet would take for a formula.

    Of the columns in which people write alone: a difference may well begin with a minus.
    """
    written = ("owner", "explained_by", "corrected_by", "actor", "assignee", "comment")
    return frame.with_columns(pl.col(c).str.replace("^([=+@\\t-])", "'$1") for c in written)


@dataclass(frozen=True)
class Filter:
    """Which breaks are meant; None stands for any."""

    states: tuple[str, ...] | None = None
    class_: str | None = None
    owner: str | None = None
    asset_id: str | None = None
    custodian_id: str | None = None
    book: str | None = None

    def of(self, breaks: pl.DataFrame) -> pl.DataFrame:
        """Return the breaks that are meant."""
        wanted = {
            "class": self.class_,
            "owner": self.owner,
            "asset_id": self.asset_id,
            "custodian_id": self.custodian_id,
            "book": self.book,
        }
        for column, value in wanted.items():
            if value is not None:
                breaks = breaks.filter(pl.col(column) == value)
        if self.states is not None:
            breaks = breaks.filter(pl.col("state").is_in(list(self.states)))
        return breaks


@dataclass(frozen=True)
class Planned:
    """One action as it would land, and why it would be refused (None: it would not).

    `known`: it waits already, and `row` is as it does; `asked_at` is the time asked for now.
    """

    row: Row
    refused: str | None
    known: bool = False
    asked_at: datetime | None = None


class Desk:
    """The breaks of the newest published date, and the actions that no run has taken yet."""

    def __init__(self, platform: Platform, run_date: date | None = None) -> None:
        """Read them; raises `NothingPublishedError`. `run_date` looks at an earlier date."""
        self.platform = platform
        last = platform.control.last_published()
        if last is None:
            raise NothingPublishedError("no date is published yet: there are no breaks")
        if run_date is not None:
            require_published(platform.control, run_date)
        self.run_date = run_date or last.run_date
        self.breaks = platform.lake.read(self.run_date, [BREAKS])[BREAKS]
        self.suspended = platform.lake.read(self.run_date, [SUSPENDED])[SUSPENDED]
        self.waiting = self._waiting() if self.run_date == last.run_date else []

    def _waiting(self) -> list[Row]:
        """Return the actions in landed files that no published date has taken, oldest first."""
        contract = contracts.feed(FEED)
        rows = [
            row
            for file in self.platform.control.unpublished_files(FEED)
            for row in read_landed(self.platform.home, contract, file.file_sha256).to_dicts()
        ]
        return sorted(rows, key=lambda r: (r["acted_at"], r["action_id"]))

    # ---- reading --------------------------------------------------------------------------------

    def unknown(self, wanted: Filter) -> str | None:
        """Say which asset or custodian of a filter nobody knows on that date; None: all are."""
        assets = self.platform.lake.read(self.run_date, [ASSETS])[ASSETS]
        for name, column, value in (
            ("asset", "asset_id", wanted.asset_id),
            ("custodian", "custodian_id", wanted.custodian_id),
        ):
            known = {*assets[column], *self.breaks[column].drop_nulls()}
            known |= {CANARY_CUSTODIAN} if name == "custodian" else set()
            if value is not None and value not in known:
                return f"--{name}: expected one of {', '.join(sorted(known))}, got {value!r}"
        return None

    def rows(self, wanted: Filter) -> list[Row]:
        """Return breaks, oldest first, each with `suspends` and the actions that wait."""
        suspended = {(r["book"], r["asset_id"]) for r in self.suspended.iter_rows(named=True)}
        waiting: dict[str, list[str]] = {}
        for action in self.waiting:
            waiting.setdefault(action["break_id"], []).append(action["action"])
        return [
            row
            | {
                "suspended": (row["book"], row["asset_id"]) in suspended,
                "waiting": waiting.get(row["break_id"], []),
            }
            for row in wanted.of(self.breaks).sort("first_seen", "break_id").to_dicts()
        ]

    def life(self, break_id: str) -> list[Row]:
        """Return the row of every published date on which a break was listed, oldest first."""
        return self._history(BREAKS, break_id)

    def actions(self, break_id: str) -> list[Row]:
        """Return what people did about a break, by the time they did it, refused actions too."""
        rows = self._history(ACTIONS, break_id)
        return sorted(rows, key=lambda r: (r["acted_at"], r["run_date"], r["action_id"]))

    def _history(self, dataset: str, break_id: str) -> list[Row]:
        rows: list[Row] = []
        for day in self.platform.control.published_dates():
            if day > self.run_date or dataset not in self.platform.lake.manifest(day):
                continue
            frame = self.platform.lake.read(day, [dataset])[dataset]
            rows += frame.filter(pl.col("break_id") == break_id).to_dicts()
        return rows

    def export(self) -> pl.DataFrame:
        """Return every action and every break of all published dates, one row per break and action.

        Breaks come as they were when last listed, by break_id and first_seen; the actions in the
        order in which runs took them; a break without any has one row.
        """
        dates = [d for d in self.platform.control.published_dates() if d <= self.run_date]
        breaks, actions = (self._all(dates, name) for name in (BREAKS, ACTIONS))
        key = ["break_id", "first_seen"]
        lives = breaks.sort("run_date").group_by(key).last()
        done = actions.select(
            "break_id",
            pl.col("run_date").alias("action_run_date"),
            *["action", "actor", "acted_at", "assignee", "comment", "outcome", "reason"],
        ).join(lives.select(*key, pl.col("run_date").alias("_end")), "break_id")
        of_life = done.filter(
            (pl.col("action_run_date") >= pl.col("first_seen"))
            & (pl.col("action_run_date") <= pl.col("_end"))
        ).drop("_end")
        return (
            lives.rename({"run_date": "last_listed"})
            .join(of_life, on=key, how="left")
            .sort(*key, "action_run_date", "acted_at", "action", nulls_last=True)
            .select(*key, "last_listed", pl.exclude(*key, "last_listed"))
        )

    def _all(self, dates: Sequence[date], dataset: str) -> pl.DataFrame:
        contract = dataset_contract(dataset)
        frames = [
            self.platform.lake.read(day, [dataset])[dataset]
            for day in dates
            if dataset in self.platform.lake.manifest(day)
        ]
        return pl.concat([contract.empty(), *frames])

    # ---- acting ---------------------------------------------------------------------------------

    def plan(
        self,
        ids: Iterable[str],
        action: Action,
        actor: str,
        *,
        at: datetime | None = None,
        comment: str | None = None,
        assignee: str | None = None,
    ) -> list[Planned]:
        """Return one action per break, each judged after all that wait for the next run.

        Whether the next run's evidence still shows a break nobody knows today, so `correct` may
        yet be refused there.
        """
        acted_at = at or datetime.now(UTC)
        wanted: list[Row] = [
            {
                "action_id": self._action_id(name, action, actor, comment, assignee),
                "break_id": name,
                "action": action,
                "actor": actor,
                "acted_at": acted_at,
                "assignee": assignee,
                "comment": comment,
                "file_sha256": "",
            }
            for name in dict.fromkeys(ids)
        ]
        known = {row["action_id"]: row for row in self.waiting}
        fresh = [row for row in wanted if row["action_id"] not in known]
        refused = self._judged(fresh)
        return [
            Planned(known[row["action_id"]], None, known=True, asked_at=at)
            if row["action_id"] in known
            else Planned(row, refused.get(row["action_id"]))
            for row in wanted
        ]

    def _judged(self, fresh: list[Row]) -> dict[str, str]:
        """Return action_id → why it would be refused, after the actions that wait."""
        published = {row["break_id"]: row for row in self.breaks.iter_rows(named=True)}
        before = pl.DataFrame(
            [{**row, "file_sha256": ""} for row in self.waiting], schema=_ACTION_SCHEMA
        )
        worked, _ = break_workflow.apply(self.breaks, pl.DataFrame({"break_id": []}), before)
        waited = {row["break_id"]: row for row in worked.iter_rows(named=True)}
        found = {}
        for row in fresh:
            now, then = (
                break_workflow.refusal(
                    rows.get(row["break_id"]), row["action"], row["actor"], shown=False
                )
                for rows in (published, waited)
            )
            if then is not None:
                by = "" if then == now else ", by what waits for the next run"
                found[row["action_id"]] = then.text + by
        return found

    def _action_id(self, *parts: str | None) -> str:
        """Return the identity of an action: asked for twice on one published date, it is one."""
        text = "\n".join([str(self.run_date), *[part or "" for part in parts]])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def land(self, planned: Sequence[Planned]) -> LandingReport:
        """Land the actions as one file, named by its content."""
        names = list(contracts.feed(FEED).column_names)
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for item in sorted(planned, key=lambda p: p.row["action_id"]):
            at = item.row["acted_at"].isoformat()
            writer.writerow(item.row | {"acted_at": at})
        content = text.getvalue().encode()
        name = f"break_actions_{hashlib.sha256(content).hexdigest()[:12]}.csv"
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            return land_file(self.platform.home, self.platform.control, FEED, path)
