"""Journals that other processes ask for (ADR 20): each booked whole, or rejected with a reason."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.books import Posting
from tests.reference.contracts import Row
from tests.reference.numbers import ZERO, fits
from tests.reference.paying import claims_on_cash

if TYPE_CHECKING:
    from tests.reference.world import World

MONEY_DECIMALS = 2
Key = tuple[str, str]  # source, journal_ref
# kind -> (what it takes from, what it gives to)
SIDES = {
    "charge": ({"pot"}, {"suspense/charges"}),
    "charge_paid": ({"suspense/charges"}, {"custodian"}),
    "distribution": (
        {"custodian", "suspense/distributions"},
        {"pot", "suspense/distributions"},
    ),
    "corporate_action": ({"pot", "custodian"}, {"pot", "custodian"}),
    "adjustment": (
        {"pot", "custodian", "suspense/adjustments"},
        {"pot", "custodian", "suspense/adjustments"},
    ),
}


@dataclass
class Booked:
    """A journal that a run has booked."""

    run_date: date
    kind: str
    book: str
    postings: list[Posting]
    taken_back: bool = False


@dataclass
class Requests:
    """What was asked for so far: what is booked, and the outcome of everything."""

    booked: dict[Key, Booked] = field(default_factory=dict)
    outcomes: dict[Key, tuple[str, str]] = field(default_factory=dict)


def take_journals(world: "World") -> None:
    """Take the journals of the run in the order of event_time, source, journal_ref."""
    due = world.landing.pending_journals
    world.landing.pending_journals = {}
    for key in sorted(due, key=lambda k: (due[k][0]["event_time"], *k)):
        _take(world, key, due)


def _take(world: "World", key: Key, due: dict[Key, list[Row]]) -> None:
    head, requests = due[key][0], world.requests
    world.landing.taken_journals.add(key)
    original_key = (head["source"], head["reverses"])
    original = requests.booked.get(original_key)
    if head["kind"] == "reversal":
        told = original.postings if original else []
        postings = [(account, state, asset, -q) for account, state, asset, q in told]
    else:
        postings = _net(due[key]) if head["kind"] in SIDES else []
    reason = _why_not(world, head) or (
        _why_not_back(world, head, due) if head["kind"] == "reversal" else _astray(head, postings)
    )
    astray = original is not None and original.book != head["book"]
    reason = reason or _unfit(world, head["book"], postings, astray=astray)
    requests.outcomes[key] = ("rejected", reason) if reason else ("booked", "")
    if reason:
        return
    world.ledger.post(head["book"], postings)
    requests.booked[key] = Booked(world.run_date, head["kind"], head["book"], postings)
    if original is not None and head["kind"] == "reversal":
        original.taken_back = True


def _net(rows: list[Row]) -> list[Posting]:
    sums: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for row in rows:
        sums[row["account"], row["asset_id"]] += row["quantity"]
    return [(account, "settled", asset, q) for (account, asset), q in sums.items() if q]


def _why_not(world: "World", head: Row) -> str:
    versions = [
        row
        for (source, kind, _), row in world.landing.values["journal_sources"].items()
        if (source, kind) == (head["source"], head["kind"]) and row["valid_from"] <= world.run_date
    ]
    newest = max(versions, key=lambda row: row["valid_from"], default=None)
    if newest is None or (newest["valid_to"] or date.max) < world.run_date:
        return "source_not_registered"
    return "event_in_the_future" if head["event_time"] > world.run_time else ""


def _why_not_back(world: "World", head: Row, due: dict[Key, list[Row]]) -> str:
    named = (head["source"], head["reverses"])
    on = head["reverses_run_date"]
    if on == world.run_date and named in due and due[named][0]["kind"] == "reversal":
        return "not_reversible"
    original = world.requests.booked.get(named)
    if original is None or original.run_date != on:
        return "unknown_journal"
    if original.kind == "reversal":
        return "not_reversible"
    if original.taken_back:
        return "already_reversed"
    return ""


def _astray(head: Row, postings: list[Posting]) -> str:
    """Whether a journal moves between other accounts than those of its kind."""
    takes, gives = SIDES[head["kind"]]
    for account, _, _, quantity in postings:
        kind = account.partition("/")[0]
        place = account if kind == "suspense" else kind
        if place not in (gives if quantity > 0 else takes):
            return "account_not_allowed"
    return ""


def _unfit(world: "World", book: str, postings: list[Posting], *, astray: bool) -> str:
    """The first reason that its postings give, looked for over all of them at a time."""
    found = {reason for posting in postings for reason in _faults(world, book, posting)}
    if astray:
        found.add("wrong_book")
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for _, _, asset, quantity in postings:
        sums[asset] += quantity
    if not postings:
        found.add("nothing_to_post")
    if any(sums.values()):
        found.add("unbalanced")
    order = (
        "unknown_pot",
        "wrong_book",
        "closed_pot",
        "unknown_asset",
        "wrong_custodian",
        "too_many_decimals",
        "nothing_to_post",
        "unbalanced",
        "insufficient_units",
        "insufficient_cash",
    )
    return next((reason for reason in order if reason in found), "")


def _faults(world: "World", book: str, posting: Posting) -> set[str]:
    account, _, asset, quantity = posting
    kind, _, name = account.partition("/")
    found = set()
    version = world.version(asset)
    if kind == "pot":
        pot = world.pots.get(name)
        if pot is None or pot.opened_on > world.run_date:
            found.add("unknown_pot")
        if pot is not None and pot.book != book:
            found.add("wrong_book")
        if pot is not None and pot.status == "closed":
            found.add("closed_pot")
    if version is None:
        return found | {"unknown_asset"}
    decimals = MONEY_DECIMALS if asset == world.currency else version.decimals
    if not fits(quantity, decimals):
        found.add("too_many_decimals")
    if kind == "custodian":
        right = world.landing.custodian(book, asset, world.run_date)
        return found | (set() if name == right else {"wrong_custodian"})
    if quantity < 0 and _free(world, book, account, asset) + quantity < 0:
        found.add("insufficient_cash" if asset == world.currency else "insufficient_units")
    return found


def _free(world: "World", book: str, account: str, asset: str) -> Fraction:
    """What an account can give: settled, of a pot's cash less what is spoken for."""
    settled = world.ledger.balance(book, account, "settled", asset)
    pot = world.pots.get(account.partition("/")[2]) if account.startswith("pot/") else None
    spoken = claims_on_cash(world, pot) if pot and asset == world.currency else ZERO
    return settled - spoken
