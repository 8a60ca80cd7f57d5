"""Which reference data counts: versions, whole sets, opening positions (`rules §2`, `§5`)."""

from datetime import date, time

import polars as pl
import pytest
from domain_frames import CUT_OFF, KNOWN_AT, P, T, frame

from acme.domain import booking, holds
from acme.domain.calendars import Calendars, CutOff
from acme.domain.day import Day
from acme.domain.reference import assets_on, cash_custodian, profiles_on
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
HOLIDAYS = {"calendar_id": pl.String, "holiday": pl.Date, "name": pl.String}
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
SOURCES = {
    "source": pl.String,
    "kind": pl.String,
    "valid_from": pl.Date,
    "valid_to": pl.Date,
    "owner": pl.String,
}


def run(feeds: dict[str, list[dict]], known: dict[str, list[dict]] | None = None) -> dict:
    """Run the process on rows by feed, all of one file, and on what was known of the run before."""
    origin = {"file_sha256": "f2", "sequence": 2, "landed_at": CUT_OFF}
    schemas = {
        "assets": ASSETS,
        "holidays": HOLIDAYS,
        "risk_profiles": WEIGHTS,
        "risk_profile_parameters": PARAMETERS,
        "pots": POTS,
        "opening_positions": POSITIONS,
        "journal_sources": SOURCES,
    }
    before = schemas | {"pots": POTS | {"status": pl.String}}
    seen = frame({"key": pl.String, "accepted_sha256": pl.String}, [])
    inputs = {
        "previous.core.holds": pl.DataFrame(schema=holds.HOLD_SCHEMA),
        "accepted.opening_positions": seen,
        "accepted.pots": seen,
    }
    for name, schema in schemas.items():
        rows = [origin | {"row": n} | r for n, r in enumerate(feeds.get(name, []), 2)]
        inputs[f"feed.{name}"] = frame(schema | ORIGIN, rows)
        inputs[f"previous.core.{name}"] = frame(
            {"run_date": pl.Date} | before[name],
            [{"run_date": P} | r for r in (known or {}).get(name, [])],
        )
    return process.run(DAY, inputs)


def landed(weights: list[tuple], known: list[tuple]) -> pl.DataFrame:
    """Return core.risk_profiles after a file of these weights of profile R."""

    def rows(given: list[tuple]) -> list[dict]:
        return [
            {"risk_profile_id": "R", "asset_id": a, "weight": w, "valid_from": v}
            for a, w, v in given
        ]

    outputs = run({"risk_profiles": rows(weights)}, {"risk_profiles": rows(known)})
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


def test_reference_data_of_a_date_is_in_the_order_of_its_keys() -> None:
    names = [f"A{n * 7 % 50:02}" for n in range(50)]
    assets = frame(ASSETS, [{"asset_id": a, "valid_from": OLD} for a in names])
    assert assets_on(assets, T)["asset_id"].to_list() == sorted(names)
    profiles = [f"R{n * 3 % 7}" for n in range(7)]
    row = {"valid_from": OLD}
    weights = [row | {"risk_profile_id": r, "asset_id": a} for a in "CABD" for r in profiles]
    found = profiles_on(frame(WEIGHTS, weights), T)
    key = ["risk_profile_id", "asset_id"]
    assert found.select(key).rows() == sorted((w[key[0]], w[key[1]]) for w in weights)
    parameters = frame(PARAMETERS, [row | {"risk_profile_id": r} for r in profiles])
    assert profiles_on(parameters, T)["risk_profile_id"].to_list() == sorted(profiles)


def test_cash_is_where_the_currency_is_on_a_date() -> None:
    held = {"asset_id": "USD", "custodian_id": "BANK", "valid_from": OLD}
    table = frame(
        ASSETS,
        [
            {"asset_id": "A", "custodian_id": "CUST", "valid_from": OLD},
            held,
            held | {"custodian_id": "OTHER", "valid_from": NEW},
            {"asset_id": "Z", "custodian_id": "CUST", "valid_from": OLD},
        ],
    )
    assert cash_custodian(table, P, "USD") == "BANK"
    assert cash_custodian(table, T, "USD") == "OTHER"


def test_no_opening_position_is_lost() -> None:
    """A position that cannot be posted is an error, never left out."""
    entries = booking.Entries()
    schema = POSITIONS | {
        "event_time": pl.Datetime("us", "UTC"),
        "known_at": pl.Datetime("us", "UTC"),
    }
    position = POSITION | {"asset_id": "LATER", "event_time": CUT_OFF, "known_at": KNOWN_AT}
    with pytest.raises(ValueError, match="LATER"):
        booking.open_positions(
            entries,
            frame(schema, [position]),
            pl.DataFrame({"pot_id": ["P1"], "book": ["live"]}),
            pl.DataFrame({"asset_id": ["A"], "custodian_id": ["CUST"]}),
        )


POSITION = {"as_of": P, "pot_id": "P1", "asset_id": "A", "units": "10"}
POT = {"pot_id": "P1", "member_ref": "m", "risk_profile_id": "R", "book": "live", "opened_on": OLD}
ASSET = {"asset_id": "A", "name": "Fund", "custodian_id": "CUST", "valid_from": OLD}


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({"as_of": T}, False),  # not before the first run
        ({"asset_id": "LATER"}, False),  # no version valid yet
    ],
)
def test_opening_positions_are_taken_or_refused_by_name(change: dict, taken: bool) -> None:
    later = ASSET | {"asset_id": "LATER", "valid_from": date(2026, 3, 12)}
    outputs = run(
        {"opening_positions": [POSITION | change], "pots": [POT], "assets": [ASSET, later]}
    )
    assert outputs["stage.opening_positions"].height == int(taken)
    assert outputs["stage.reference_quarantine"].height == int(not taken)


def test_a_position_of_a_pot_on_hold_does_not_stop_the_day() -> None:
    """Two rows disagree on a pot: its key is on hold, and with it what stands on it (`rules §10`).

    Post opens positions of known pots alone and stops at any other: the position has to wait, or
    be refused by name, not to be handed over.
    """
    outputs = run(
        {
            "opening_positions": [POSITION, POSITION | {"pot_id": "P2"}],
            "pots": [POT, POT | {"opened_on": T}, POT | {"pot_id": "P2"}],
            "assets": [ASSET],
        }
    )
    assert outputs["stage.landed_pots"]["pot_id"].to_list() == ["P2"]
    assert outputs["stage.opening_positions"]["pot_id"].to_list() == ["P2"]


def test_a_hold_of_a_replaced_set_ends_with_it() -> None:
    """A later whole set without the disputed asset leaves nothing to decide."""
    weight = {"risk_profile_id": "R", "valid_from": NEW}
    first = [
        weight | {"asset_id": "A", "weight": "0.2"},
        weight | {"asset_id": "A", "weight": "0.4"},
        weight | {"asset_id": "CASH", "weight": "0.4"},
    ]
    second = [
        {"sequence": 3, "file_sha256": "f3"} | weight | {"asset_id": a, "weight": w}
        for a, w in (("B", "0.6"), ("CASH", "0.4"))
    ]
    outputs = run({"risk_profiles": first + second})
    assert weights_on(outputs["core.risk_profiles"]) == {"B": "0.60", "CASH": "0.40"}
    assert outputs["stage.reference_holds"].is_empty()


def test_a_process_is_registered_by_its_newest_version() -> None:
    """The same key again replaces, another date adds; two values of one key are on hold."""
    row = {"source": "fees", "kind": "charge", "valid_from": OLD, "owner": "team:a"}
    known = [row, row | {"kind": "reversal"}]
    landed_ = [row | {"owner": "team:b"}, row | {"valid_from": NEW, "valid_to": NEW}]
    held = [row | {"kind": "reversal", "owner": name} for name in ("team:c", "team:d")]
    outputs = run({"journal_sources": [*landed_, *held]}, {"journal_sources": known})
    table = outputs["core.journal_sources"].sort("kind", "valid_from")
    assert table.select("kind", "valid_from", "valid_to", "owner").rows() == [
        ("charge", OLD, None, "team:b"),
        ("charge", NEW, NEW, "team:a"),
        ("reversal", OLD, None, "team:a"),
    ]
    assert outputs["stage.reference_holds"]["key"].to_list() == [f"fees|reversal|{OLD}"]
