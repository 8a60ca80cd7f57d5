"""Duplicates, conflicts and replacement of landed rows (`rules §4`, `§10`)."""

import json
from datetime import date

import polars as pl
import pytest
from domain_frames import P, T, frame

from acme.domain import holds

ROWS = {
    "k": pl.String,
    "l": pl.String,
    "v": pl.String,
    "n": pl.Decimal(18, 6),
    "file_sha256": pl.String,
    "row": pl.Int64,
    "sequence": pl.Int64,
    "landed_at": pl.Datetime("us", "UTC"),
}
NO_HOLDS = pl.DataFrame(schema=holds.HOLD_SCHEMA)


def resolve(*rows: dict, open_holds: pl.DataFrame = NO_HOLDS, run_date: date = T) -> holds.Resolved:
    numbered = [{"row": n, "sequence": 1, "k": "a", "l": "x"} | r for n, r in enumerate(rows, 2)]
    numbered = [{"file_sha256": f"f{r['sequence']}"} | r for r in numbered]
    return holds.resolve("feed", frame(ROWS, numbered), ["k", "l"], open_holds, run_date)


def values(resolved: holds.Resolved) -> dict[str, str]:
    return dict(resolved.rows.select("key", "v").iter_rows())


def test_equal_rows_count_once_and_the_first_is_kept() -> None:
    found = resolve({"v": "1", "n": "1.5"}, {"v": "1", "n": "1.500"})
    assert found.rows.select("v", "row").rows() == [("1", 2)]
    assert found.holds.is_empty()


def test_rows_of_one_file_that_disagree_hold_their_key_alone() -> None:
    found = resolve({"v": "1"}, {"v": "2"}, {"k": "b", "v": "3"})
    assert values(found) == {"b|x": "3"}
    (hold,) = found.holds.rows(named=True)
    assert (hold["feed"], hold["key"], hold["reason"]) == ("feed", "a|x", "conflicting_rows")
    assert (hold["first_run_date"], hold["file_sha256"]) == (T, "f1")
    assert {c["v"] for c in json.loads(hold["candidates"])} == {"1", "2"}


def test_candidates_are_told_by_name_and_a_null_is_none() -> None:
    (hold,) = resolve({"v": None, "n": "1.5"}, {"v": None, "n": "2"}).holds.rows(named=True)
    told = {'{"n": "1.500000", "v": null}', '{"n": "2.000000", "v": null}'}
    assert hold["candidates"] in {f"[{', '.join(p)}]" for p in (sorted(told), sorted(told)[::-1])}


def test_candidates_come_in_the_order_of_their_digests() -> None:
    """One order, whatever that of the rows, and none of them looks preferred."""
    texts = [f"{n}" for n in range(20)]
    digest = pl.DataFrame({"v": texts, "n": None}).with_columns(
        holds.value_digest(["v", "n"]).alias("digest")
    )
    for given in (texts, texts[::-1]):
        (hold,) = resolve(*[{"v": v} for v in given]).holds.rows(named=True)
        told = [c["v"] for c in json.loads(hold["candidates"])]
        assert told == digest.sort("digest")["v"].to_list()


def test_every_key_is_named_once_in_order() -> None:
    names = [f"{n * 7 % 50:02}" for n in range(50)]
    same = resolve(*[{"k": k, "v": "1"} for k in names])
    assert same.rows["key"].to_list() == [f"{k}|x" for k in sorted(names)]
    disputed = resolve(*[{"k": k, "v": v} for k in names for v in "12"])
    assert disputed.holds["key"].to_list() == [f"{k}|x" for k in sorted(names)]


def test_an_empty_field_is_part_of_a_key() -> None:
    found = resolve({"l": None, "v": "1"}, {"k": None, "v": "2"}, {"k": "b", "l": None, "v": "3"})
    assert values(found) == {"a|": "1", "|x": "2", "b|": "3"}


@pytest.mark.parametrize(
    ("history", "since"),
    [
        (["1"], 1),
        (["1", "1", "1"], 1),  # repeating changes nothing
        (["1", "2"], 2),
        (["1", "2", "1"], 3),
        (["1", "2", "1", "2", "1", "1"], 5),
        (["2", "3", "1", "1"], 3),
        # A file that disagrees with itself says nothing of its values.
        (["12", "1"], 2),
        (["1", "12", "1", "1"], 3),
    ],
)
def test_a_row_counts_from_the_file_that_first_gave_its_values(
    history: list[str], since: int
) -> None:
    """One file after the other, each with its values of one key; the last is in force."""
    rows = [{"v": v, "sequence": n} for n, file in enumerate(history, 1) for v in file]
    found = resolve(*rows[::-1])
    assert found.rows.select("v", "sequence", "file_sha256").rows() == [
        (history[-1], since, f"f{since}")
    ]
    assert found.rows.columns == [*ROWS, "key", "values_sha256"]


def test_a_null_is_a_value_of_its_own() -> None:
    assert resolve({"v": None}, {"v": ""}).holds.height == 1
    assert resolve({"n": None}, {"n": "0"}).holds.height == 1
    assert resolve({"v": None}, {"v": None}).rows.height == 1


def test_the_latest_file_decides() -> None:
    assert values(resolve({"v": "1"}, {"v": "2", "sequence": 2})) == {"a|x": "2"}
    assert values(resolve({"v": "2", "sequence": 2}, {"v": "1"})) == {"a|x": "2"}
    # A dispute in an earlier file is settled by a later one, and the other way round.
    assert values(resolve({"v": "1"}, {"v": "2"}, {"v": "3", "sequence": 2})) == {"a|x": "3"}
    assert values(resolve({"v": "3"}, {"v": "1", "sequence": 2}, {"v": "2", "sequence": 2})) == {}


def test_a_later_run_releases_a_hold() -> None:
    opened = resolve({"v": "1"}, {"v": "2"}, run_date=P).holds
    found = resolve({"v": "2", "sequence": 5}, open_holds=opened)
    assert (values(found), found.holds.height) == ({"a|x": "2"}, 0)


def test_a_hold_nobody_names_stays_and_one_named_again_keeps_its_date() -> None:
    opened = resolve({"v": "1"}, {"v": "2"}, run_date=P).holds
    assert resolve({"k": "b", "v": "1"}, open_holds=opened).holds.equals(opened)
    again = resolve({"v": "8"}, {"v": "9"}, open_holds=opened).holds
    assert again["first_run_date"].to_list() == [P]
    assert "8" in again["candidates"][0]


def test_holds_of_other_feeds_are_left_out() -> None:
    opened = resolve({"v": "1"}, {"v": "2"}, run_date=P).holds
    other = opened.with_columns(pl.lit("other").alias("feed"))
    assert resolve({"k": "b", "v": "1"}, open_holds=other).holds.is_empty()


def test_keys_do_not_run_into_each_other() -> None:
    found = resolve(
        {"k": "a|b", "l": "c", "v": "1"},
        {"k": "a", "l": "b|c", "v": "2"},
        {"k": "a\\", "l": "b", "v": "3"},
        {"k": "a", "l": "\\b", "v": "4"},
    )
    assert sorted(values(found).values()) == ["1", "2", "3", "4"]
    assert found.rows["key"].n_unique() == 4


def test_values_do_not_run_into_each_other() -> None:
    frame_ = pl.DataFrame({"a": ["x", "xy", 'x","b":"y'], "b": ["yz", "z", "z"]})
    assert frame_.select(holds.value_digest(["a", "b"]).alias("d"))["d"].n_unique() == 3


def test_row_order_of_the_input_has_no_effect() -> None:
    rows = [
        {"v": "1", "row": 2},
        {"v": "2", "row": 3},
        {"k": "b", "v": "1", "row": 4},
        {"k": "b", "v": "1", "row": 5},
        {"k": "c", "v": "5", "row": 6},
    ]
    one, two = resolve(*rows), resolve(*rows[::-1])
    assert one.rows.equals(two.rows)
    assert one.holds.equals(two.holds)


def test_known_keys_are_new_repeated_or_changed() -> None:
    resolved = resolve({"v": "1"}, {"k": "b", "v": "2"}, {"k": "c", "v": "3"}).rows
    digest = dict(resolved.select("key", "values_sha256").iter_rows())
    known = pl.DataFrame({"key": ["a|x", "b|x"], "accepted_sha256": [digest["a|x"], "another"]})
    new, quarantined = holds.split_known("feed", resolved, known, "order_already_taken")
    assert new["key"].to_list() == ["c|x"]
    assert dict(quarantined.schema) == holds.QUARANTINE_SCHEMA
    assert quarantined.select("feed", "key", "rule", "row", "detail").rows() == [
        (
            *("feed", "b|x", "order_already_taken", 3),
            "accepted earlier with other values; the earlier values stand",
        ),
    ]


def test_what_is_stated_anew_counts_and_what_is_repeated_does_not() -> None:
    resolved = resolve({"v": "1"}, {"k": "b", "v": "2"}, {"k": "c", "v": "3"}).rows
    digest = dict(resolved.select("key", "values_sha256").iter_rows())
    known = pl.DataFrame({"key": ["a|x", "b|x"], "accepted_sha256": [digest["a|x"], "another"]})
    found = holds.without_repeats(resolved, known)
    assert found["key"].to_list() == ["b|x", "c|x"]
    assert found.columns == resolved.columns
