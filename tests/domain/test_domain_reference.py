"""Which reference data counts: versions, whole sets, opening positions (`rules §2`, `§5`)."""

from datetime import UTC, date, time

import polars as pl
from domain_frames import CUT_OFF, KNOWN_AT, P, T, frame

from acme.domain import booking, holds
from acme.domain.calendars import Calendars, CutOff
from acme.domain.day import Day
from acme.domain.reference import assets_on, profiles_on
from assets.intake.reference import process

DAY = Day(T, P, "USD", CutOff(time(12), "Europe/London"), KNOWN_AT, Calendars({}), event_clock=True)
OLD, NEW = date(2026, 1, 1), date(2026, 3, 11)
ORIGIN = {
    "file_sha256": pl.String,
    "row": pl.Int64,
    "sequence": pl.Int64,
    "landed_at": pl.Datetime("us", "UTC"),
}
WEIGHTS = {
    "risk_profile_id": pl.String,
    "asset_id": pl.String,
    "weight": pl.Decimal(9, 8),
    "valid_from": pl.Date,
}
PARAMETERS = {
    "risk_profile_id": pl.String,
    "drift_band": pl.Decimal(9, 8),
    "cash_band": pl.Decimal(9, 8),
    "min_trade": pl.Decimal(18, 2),
    "schedule": pl.String,
    "valid_from": pl.Date,
}
ASSETS = {
    "asset_id": pl.String,
    "name": pl.String,
    "custodian_id": pl.String,
    "valid_from": pl.Date,
}
POTS = {
    "pot_id": pl.String,
    "member_ref": pl.String,
    "risk_profile_id": pl.String,
    "book": pl.String,
    "opened_on": pl.Date,
}
POSITIONS = {
    "as_of": pl.Date,
    "pot_id": pl.String,
    "asset_id": pl.String,
    "units": pl.Decimal(18, 6),
}


def landed(weights: list[tuple], known: list[tuple]) -> pl.DataFrame:
    """Return core.risk_profiles after a file of these weights of profile R."""

    def rows(given: list[tuple]) -> list[dict]:
        return [
            {"risk_profile_id": "R", "asset_id": a, "weight": w, "valid_from": v}
            for a, w, v in given
        ]

    origin = {"file_sha256": "f2", "sequence": 2, "landed_at": CUT_OFF}
    feed = frame(
        WEIGHTS | ORIGIN, [r | origin | {"row": n} for n, r in enumerate(rows(weights), 2)]
    )
    run_date = {"run_date": pl.Date}
    outputs = process.run(
        DAY,
        {
            "feed.assets": frame(ASSETS | ORIGIN, []),
            "feed.risk_profiles": feed,
            "feed.risk_profile_parameters": frame(PARAMETERS | ORIGIN, []),
            "feed.pots": frame(POTS | ORIGIN, []),
            "feed.opening_positions": frame(POSITIONS | ORIGIN, []),
            "previous.core.assets": frame(run_date | ASSETS, []),
            "previous.core.risk_profiles": frame(
                run_date | WEIGHTS, [{"run_date": P} | r for r in rows(known)]
            ),
            "previous.core.risk_profile_parameters": frame(run_date | PARAMETERS, []),
            "previous.core.pots": frame(run_date | POTS | {"status": pl.String}, []),
            "previous.core.holds": pl.DataFrame(schema=holds.HOLD_SCHEMA),
            "accepted.opening_positions": frame(
                {"key": pl.String, "accepted_sha256": pl.String}, []
            ),
        },
    )
    return outputs["core.risk_profiles"]


def weights_on(table: pl.DataFrame, day: date = T) -> dict[str, str]:
    valid = profiles_on(table, day)
    return {a: f"{w:.2f}" for a, w in valid.select("asset_id", "weight").iter_rows()}


def test_a_new_set_leaves_the_old_one_in_force_until_its_date() -> None:
    table = landed(
        [("B", "0.9", NEW), ("CASH", "0.1", NEW)], [("A", "0.8", OLD), ("CASH", "0.2", OLD)]
    )
    assert weights_on(table, P) == {"A": "0.80", "CASH": "0.20"}
    assert weights_on(table, T) == {"B": "0.90", "CASH": "0.10"}


def test_a_corrected_set_of_the_same_date_replaces_the_whole_set() -> None:
    """`rules §5`: the whole set counts; weights sum to exactly 1, whatever was landed before."""
    table = landed(
        [("B", "0.6", OLD), ("CASH", "0.4", OLD)],
        [("A", "0.3", OLD), ("C", "0.3", OLD), ("CASH", "0.4", OLD)],
    )
    assert weights_on(table) == {"B": "0.60", "CASH": "0.40"}


def test_a_set_with_one_asset_on_hold_is_not_used_in_part() -> None:
    """Rows of the file disagree on A and yet sum to 1: the weights left over sum to 0.4.

    The newest whole set stays in force until the hold is released.
    """
    table = landed(
        [("A", "0.2", NEW), ("A", "0.4", NEW), ("CASH", "0.4", NEW)],
        [("A", "0.8", OLD), ("CASH", "0.2", OLD)],
    )
    assert weights_on(table) == {"A": "0.80", "CASH": "0.20"}


def test_the_newest_version_of_an_asset_on_a_date() -> None:
    table = frame(
        ASSETS,
        [
            {"asset_id": "A", "name": "new", "valid_from": NEW},
            {"asset_id": "A", "name": "old", "valid_from": OLD},
            {"asset_id": "B", "name": "later", "valid_from": date(2026, 3, 12)},
        ],
    )
    assert assets_on(table, T).select("asset_id", "name").rows() == [("A", "new")]
    assert assets_on(table, P).select("asset_id", "name").rows() == [("A", "old")]
    assert assets_on(table[::-1], T).select("asset_id", "name").rows() == [("A", "new")]


def test_no_opening_position_is_lost() -> None:
    """A position in an asset that is valid only from a later date must be posted or refused."""
    entries = booking.Entries()
    schema = POSITIONS | {
        "event_time": pl.Datetime("us", "UTC"),
        "known_at": pl.Datetime("us", "UTC"),
    }
    position = {
        "as_of": P,
        "pot_id": "P1",
        "asset_id": "LATER",
        "units": "10",
        "event_time": CUT_OFF.astimezone(UTC),
        "known_at": KNOWN_AT,
    }
    try:
        booking.open_positions(
            entries,
            frame(schema, [position]),
            pl.DataFrame({"pot_id": ["P1"], "book": ["live"]}),
            pl.DataFrame({"asset_id": ["A"], "custodian_id": ["CUST"]}),
        )
    except (ValueError, LookupError):
        return
    assert entries.all_postings().height == 2
