"""Reference: assets, risk profiles, pots and opening positions as known from this run on."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import holds
from acme.domain.day import Day
from acme.domain.reference import assets_on

KEYS = {
    "assets": ["asset_id", "valid_from"],
    "risk_profiles": ["risk_profile_id", "asset_id", "valid_from"],
    "risk_profile_parameters": ["risk_profile_id", "valid_from"],
    "journal_sources": ["source", "kind", "valid_from"],
}
# Rows that count together or not at all: a profile's weights sum to 1 (`rules §5`).
SETS = {"risk_profiles": ["risk_profile_id", "valid_from"]}
NO_EFFECT = ["key", "values_sha256"]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Bring the reference data up to date; a later row of a key replaces an earlier one."""
    open_holds = inputs["previous.core.holds"]
    outputs: dict[str, pl.DataFrame] = {}
    holidays = inputs["feed.holidays"]
    key = ["calendar_id", "holiday"]
    held = [holds.resolve("holidays", holidays, key, open_holds, day.run_date).holds]
    for feed, key in KEYS.items():
        landed = inputs[f"feed.{feed}"]
        whole = SETS.get(feed, key)
        newest = landed.filter(pl.col("sequence") == pl.col("sequence").max().over(whole))
        resolved = holds.resolve(feed, newest, key, open_holds, day.run_date)
        held.append(resolved.holds)
        rows = _whole_sets(newest, resolved.rows, key, whole)
        outputs[f"core.{feed}"] = _replace(inputs[f"previous.core.{feed}"], rows, whole)
    pots, quarantined_pots, pot_holds, accepted_pots = _pots(day, inputs)
    positions, quarantined, position_holds, accepted = _opening_positions(
        day, inputs, outputs["core.assets"], pots
    )
    return outputs | {
        "stage.landed_pots": pots,
        "stage.opening_positions": positions,
        "stage.reference_holds": pl.concat([*held, pot_holds, position_holds]),
        "stage.reference_quarantine": pl.concat([quarantined_pots, quarantined]),
        "accepted.opening_positions": accepted,
        "accepted.pots": accepted_pots,
    }


def _whole_sets(
    landed: pl.DataFrame, rows: pl.DataFrame, key: list[str], whole: list[str]
) -> pl.DataFrame:
    """Return the rows of the sets of which no key is on hold."""
    named = landed.select(key).unique().group_by(whole).agg(pl.len().alias("_named"))
    given = rows.group_by(whole).agg(pl.len().alias("_given"))
    complete = named.join(given, on=whole).filter(pl.col("_named") == pl.col("_given"))
    return rows.join(complete.select(whole), on=whole, how="semi")


def _replace(known: pl.DataFrame, rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    columns = [c for c in known.columns if c != "run_date"]
    kept = known.select(columns).join(rows, on=key, how="anti")
    return pl.concat([kept, rows.select(columns)])


def _pots(day: Day, inputs: Mapping[str, pl.DataFrame]) -> tuple[pl.DataFrame, ...]:
    """Add new pots; a known pot changes by order alone, so another row of it is quarantined."""
    known = inputs["previous.core.pots"].drop("run_date")
    resolved = holds.resolve(
        "pots", inputs["feed.pots"], ["pot_id"], inputs["previous.core.holds"], day.run_date
    )
    new, quarantined = holds.split_known(
        "pots", resolved.rows, inputs["accepted.pots"], "pot_exists"
    )
    opened = new.with_columns(pl.lit("open").alias("status")).select(known.columns)
    return pl.concat([known, opened]), quarantined, resolved.holds, new.select(NO_EFFECT)


def _refused(rows: pl.DataFrame, rule: str, detail: str) -> pl.DataFrame:
    """Return opening positions that are refused alone, with the rule they break."""
    return rows.select(
        pl.lit("opening_positions").alias("feed"),
        "key",
        "file_sha256",
        pl.col("row").cast(pl.Int64),
        pl.lit(rule).alias("rule"),
        pl.lit(detail).alias("detail"),
    )


def _opening_positions(
    day: Day, inputs: Mapping[str, pl.DataFrame], assets: pl.DataFrame, pots: pl.DataFrame
) -> tuple[pl.DataFrame, ...]:
    resolved = holds.resolve(
        "opening_positions",
        inputs["feed.opening_positions"],
        ["as_of", "pot_id", "asset_id"],
        inputs["previous.core.holds"],
        day.run_date,
    )
    new, changed = holds.split_known(
        "opening_positions",
        resolved.rows,
        inputs["accepted.opening_positions"],
        "position_already_opened",
    )
    valid = assets_on(assets, day.run_date).select("asset_id")
    in_time = pl.col("as_of") <= day.as_of
    refused = [
        _refused(
            new.filter(~in_time),
            "as_of_not_before_run",
            f"as_of lies after {day.as_of}, the last close before the run",
        ),
        _refused(
            new.filter(in_time).join(valid, on="asset_id", how="anti"),
            "asset_not_valid",
            f"the asset has no version that is valid on {day.run_date}",
        ),
    ]
    dated = new.filter(in_time).join(valid, on="asset_id", how="semi")
    known = pots.select("pot_id")
    refused.append(
        _refused(
            dated.join(known, on="pot_id", how="anti"),
            "pot_not_known",
            "the pot is not known, or on hold; land the position again once it is",
        )
    )
    taken = dated.join(known, on="pot_id", how="semi")
    columns = ["as_of", "pot_id", "asset_id", "units", "file_sha256"]
    return (
        taken.select(columns),
        pl.concat([changed, *refused]),
        resolved.holds,
        taken.select(NO_EFFECT),
    )
