"""Chance that repeats, the kinds of events that may happen, and how often each did."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Every kind of event that a history may hold, by what it is about (`rules §1` to `§10`).
KINDS: dict[str, tuple[str, ...]] = {
    "orders": (
        "contribution",
        "withdrawal",
        "withdrawal_of_all",
        "buy",
        "sell",
        "sell_all",
        "switch",
        "switch_all",
        "profile_change",
    ),
    "order_faults": (
        "order_too_large",
        "order_too_fine",
        "order_unknown_pot",
        "order_unknown_asset",
        "order_unknown_profile",
        "order_for_currency",
        "order_before_opening",
        "order_after_cut_off",
        "order_landed_late",
        "order_repeated",
        "order_conflicting",
        "order_conflict_released",
        "order_replaced_while_waiting",
        "order_changed_after_taken",
        "order_reserved_source",
    ),
    "journals": (
        "journal_charge",
        "journal_charge_paid",
        "journal_distribution",
        "journal_corporate_action",
        "journal_adjustment",
        "journal_reversal",
    ),
    "journal_faults": (
        "journal_unbalanced",
        "journal_too_large",
        "journal_too_fine",
        "journal_unknown_pot",
        "journal_wrong_account",
        "journal_wrong_book",
        "journal_unregistered",
        "journal_in_the_future",
        "journal_late",
        "journal_repeated",
        "journal_changed",
        "journal_replaced",
        "journal_conflicting",
    ),
    "executions": (
        "filled",
        "filled_in_parts",
        "part_filled_rest_cancelled",
        "part_filled_rest_rejected",
        "rejected",
        "silent",
        "answered_late",
        "rejected_late",
        "over_confirmed",
        "over_confirmed_then_amended",
        "off_price",
        "off_sum",
        "units_not_what_the_amount_buys",
        "confirmation_repeated",
        "confirmation_changed",
        "confirmation_conflicting",
        "event_landed_early",
        "event_landed_late",
        "settled_before_executed",
        "unknown_instruction",
        "confirmation_too_fine",
    ),
    "amendments": (
        "amended_before_booking",
        "cancelled_before_booking",
        "amends_unknown",
    ),
    "corrections": (
        "amended_after_booking",
        "cancelled_after_booking",
        "ended_after_booking",
        "amended_after_settlement",
        "cancelled_after_settlement",
        "settlement_amended",
        "settlement_cancelled",
    ),
    "settlements": (
        "settled_in_time",
        "settled_in_parts",
        "settled_late",
        "settled_early",
        "settlement_failed",
        "failed_after_settlement",
        "settled_never",
        "settled_too_much",
        "settled_ahead",
    ),
    "prices": (
        "price_missing",
        "price_late",
        "price_conflicting",
        "price_conflict_released",
        "price_beyond_stress",
        "price_beyond_limit",
        "price_limit_released",
        "price_repeated",
        "price_early",
        "price_on_weekend",
    ),
    "price_corrections": ("price_corrected", "price_held_after_use"),
    "reference": (
        "settlement_days_shortened",
        "weights_changed",
        "parameters_changed",
        "weights_do_not_sum",
        "pot_landed_later",
        "pot_repeated_otherwise",
        "position_repeated_otherwise",
        "position_dated_ahead",
        "asset_landed_later",
        "holiday_of_one_calendar",
        "canary_pot",
        "live_pot",
    ),
    "statements": (
        "statement_right",
        "statement_traded",
        "statement_wrong",
        "statement_leaves_out",
        "statement_adds",
        "statement_in_pages",
        "statement_page_missing",
        "statement_missing",
        "statement_late",
        "statement_twice",
        "statement_row_repeated",
        "statement_split_lines",
        "statement_empty",
        "statement_currency_wrong",
    ),
}
GROUP_OF = {kind: group for group, kinds in KINDS.items() for kind in kinds}


def chosen_kinds(text: str) -> frozenset[str]:
    """Return the kinds that a list as `all,-corrections,-silent` names; groups and kinds alike.

    Raises `ValueError` for a name that is neither.
    """
    chosen: set[str] = set()
    for word in filter(None, text.split(",")):
        name = word.removeprefix("-")
        if name == "all":
            named = set(GROUP_OF)
        elif name in KINDS:
            named = set(KINDS[name])
        elif name in GROUP_OF:
            named = {name}
        else:
            raise ValueError(f"kinds: expected all, {', '.join(KINDS)} or a kind, found {name!r}")
        chosen = chosen - named if word.startswith("-") else chosen | named
    return frozenset(chosen)


class Chance:
    """A seeded source of choices that counts the kinds it let happen."""

    def __init__(self, seed: str, kinds: frozenset[str], counts: Counter[str]) -> None:
        self.random = random.Random(seed)
        self.kinds = kinds
        self.counts = counts

    def maybe(self, probability: float, kind: str) -> bool:
        """Say whether an event of a kind happens now; counted if so."""
        happens = self.random.random() < probability and kind in self.kinds
        self.counts[kind] += happens
        return happens

    def roll(self, probability: float) -> bool:
        """Toss a coin of which nobody keeps count."""
        return self.random.random() < probability

    def count(self, kind: str) -> None:
        """Note that a kind happened."""
        self.counts[kind] += 1

    def of(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return self.random.choice(options)

    def kind(self, weights: dict[str, float]) -> str:
        """Return one of the enabled kinds by weight; counted."""
        enabled = {kind: weight for kind, weight in weights.items() if kind in self.kinds}
        found = self.random.choices(list(enabled), list(enabled.values()))[0]
        self.counts[found] += 1
        return found

    def between(self, low: int, high: int) -> int:
        """Return a whole number of low..high."""
        return self.random.randint(low, high)
