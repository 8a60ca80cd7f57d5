"""Actions: what people did about breaks since the run before, each action once."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import holds
from acme.domain.day import Day

ACTION = [
    "action_id",
    "break_id",
    "action",
    "actor",
    "acted_at",
    "assignee",
    "comment",
    "file_sha256",
]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Take each action id once; one that comes again with other values is quarantined alone."""
    resolved = holds.resolve(
        "break_actions",
        inputs["feed.break_actions"],
        ["action_id"],
        inputs["previous.core.holds"],
        day.run_date,
    )
    new, quarantined = holds.split_known(
        "break_actions", resolved.rows, inputs["accepted.break_actions"], "action_changed"
    )
    return {
        "stage.break_actions": new.select(ACTION),
        "stage.break_action_holds": resolved.holds,
        "stage.break_action_quarantine": quarantined,
        "accepted.break_actions": new.select("key", "values_sha256"),
    }
