"""Whatever other processes ask for, the identities hold, and taking it row by row says the same."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from acme.domain import holds, journals, ledger
from acme.domain.orders import order_id

T, P, OPENED = date(2026, 3, 11), date(2026, 3, 10), date(2026, 1, 1)
NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
CHARGES = "suspense/charges"
ROWS = {
    "source": pl.String,
    "journal_ref": pl.String,
    "line": pl.Int32,
    "book": pl.String,
    "kind": pl.String,
    "event_time": pl.Datetime("us", "UTC"),
    "account": pl.String,
    "asset_id": pl.String,
    "quantity": pl.Decimal(18, 6),
    "reverses": pl.String,
    "reverses_run_date": pl.Date,
    "description": pl.String,
}
BALANCES = {**dict.fromkeys(ledger.BALANCE_KEY, pl.String), "quantity": pl.Decimal(28, 6)}
REQUEST = {
    "run_date": pl.Date,
    "request_id": pl.String,
    "kind": pl.String,
    "book": pl.String,
    "state": pl.String,
    "reverses": pl.String,
}
HELD = {("pot/A", "EQ"): 4, ("pot/A", "USD"): 3, ("pot/B", "EQ"): 2, (CHARGES, "USD"): 1}
COMMITTED = {"pot/A": 1}
OLD = {"booked": [("pot/A", "EQ", -1), (CHARGES, "EQ", 1)]}  # of P, by ref
PLACES = [("custodian/NORTH", CHARGES), ("pot/A", "pot/B", CHARGES, "suspense/adjustments")]


@dataclass(frozen=True)
class Asked:
    """A journal as it is asked for; a reversal has no moves."""

    ref: str
    kind: str
    minute: int
    moves: tuple[tuple[str, str, int], ...] = ()
    reverses: str | None = None

    @property
    def at(self) -> datetime:
        return NOON - timedelta(minutes=10 - self.minute)

    def rows(self) -> Iterator[dict]:
        head = {
            "source": "fees",
            "journal_ref": self.ref,
            "book": "live",
            "kind": self.kind,
            "event_time": self.at,
        }
        if self.reverses is not None:
            day = P if self.reverses in OLD else T
            yield head | {"line": 1, "reverses": self.reverses, "reverses_run_date": day}
        for n, (account, asset, quantity) in enumerate(self.moves, start=1):
            yield head | {
                "line": n,
                "account": account,
                "asset_id": asset,
                "quantity": Decimal(quantity),
            }


@st.composite
def asked(draw: st.DrawFn) -> list[Asked]:
    found = []
    refs = [f"j{n}" for n in range(draw(st.integers(1, 8)))]
    for ref in refs:
        minute = draw(st.integers(0, 12))
        kind = draw(st.sampled_from([*journals.MOVES, "charge", "reversal", "reversal"]))
        if kind == "reversal":
            of = draw(st.sampled_from([*refs, *OLD, "none"]))
            found.append(Asked(ref, kind, minute, reverses=of))
            continue
        takes, gives = (sorted(side) for side in journals.MOVES[kind])
        moves = []
        for _ in range(draw(st.integers(1, 2))):
            asset = draw(st.sampled_from(["EQ", "USD"]))
            quantity = draw(st.integers(1, 3))
            for places, sign in ((takes, -1), (gives, 1)):
                place = draw(st.sampled_from(places))
                name = {"pot": draw(st.sampled_from("AB")), "custodian": "NORTH"}.get(place)
                account = place if name is None else f"{place}/{name}"
                # Now and then one that does not balance.
                off = draw(st.sampled_from([0] * 9 + [1]))
                moves.append((account, asset, sign * (quantity + off)))
        found.append(Asked(ref, kind, minute, tuple(moves)))
    return found


def frame(journals_: list[Asked], seed: int | None = None) -> pl.DataFrame:
    """Return the rows of one file, shuffled by a seed, as a feed gives them."""
    rows = [row for j in journals_ for row in j.rows()]
    if seed is not None:
        random.Random(seed).shuffle(rows)
    values = [[row.get(name) for name in ROWS] for row in rows]
    return pl.DataFrame(values, schema=ROWS, orient="row").with_columns(
        pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias("row"),
        pl.lit("f" * 64).alias("file_sha256"),
        pl.lit(1, dtype=pl.Int64).alias("sequence"),
        pl.lit(NOON).alias("landed_at"),
    )


def lines(journals_: list[Asked], seed: int | None = None) -> pl.DataFrame:
    rows = frame(journals_, seed)
    none = pl.DataFrame(schema=holds.HOLD_SCHEMA)
    taken = holds.resolve("journals", journals.gathered(rows), journals.KEY, none, T)
    assert taken.holds.is_empty()
    return journals.lines_of(rows, taken.rows)


def balances() -> pl.DataFrame:
    owned = [("live", account, "settled", a, Decimal(q)) for (account, a), q in HELD.items()]
    sums: dict[str, int] = defaultdict(int)
    for (_, asset), quantity in HELD.items():
        sums[asset] += quantity
    owned += [("live", "custodian/NORTH", "settled", a, Decimal(-q)) for a, q in sums.items()]
    return pl.DataFrame(owned, schema=BALANCES, orient="row")


def terms() -> journals.Terms:
    old = [Asked(ref, "charge", 0, tuple(moves)) for ref, moves in OLD.items()]
    return journals.Terms(
        run_date=T,
        known_at=NOON,
        currency="USD",
        sources=pl.DataFrame(
            [("fees", k, OPENED, None) for k in (*journals.MOVES, "reversal")],
            schema={
                "source": pl.String,
                "kind": pl.String,
                "valid_from": pl.Date,
                "valid_to": pl.Date,
            },
            orient="row",
        ),
        pots=pl.DataFrame(
            [(p, "live", "open", OPENED) for p in "AB"],
            schema=["pot_id", "book", "status", "opened_on"],
            orient="row",
        ),
        assets=pl.DataFrame(
            [("EQ", "NORTH", 4), ("USD", "NORTH", 2)],
            schema=["asset_id", "custodian_id", "unit_decimals"],
            orient="row",
        ),
        balances=balances(),
        committed=pl.DataFrame(
            [("live", account, pence * 10**6) for account, pence in COMMITTED.items()],
            schema={"book": pl.String, "account": pl.String, "committed": pl.Int128},
            orient="row",
        ),
        earlier=pl.DataFrame(
            [(P, order_id("fees", ref), "charge", "live", "booked", None) for ref in OLD],
            schema=REQUEST,
            orient="row",
        ),
        earlier_lines=lines(old).with_columns(pl.lit(P).alias("run_date")),
    )


def in_plain_words(journals_: list[Asked]) -> tuple[dict[str, str], dict[tuple[str, str], int]]:
    """Take journals one by one: outcome by reference, and what every account then has."""
    have = defaultdict(int, HELD)
    told: dict[str, str] = {}
    by_ref = {j.ref: j for j in journals_}
    done: set[str] = set()
    for j in sorted(journals_, key=lambda j: (j.at, j.ref)):
        told[j.ref] = _outcome(j, by_ref, told, done, have)
        if told[j.ref] == "booked":
            done |= {j.reverses} if j.reverses else set()
            for (account, asset), quantity in _net(_moves(j, by_ref)).items():
                have[account, asset] += quantity
    return told, {key: quantity for key, quantity in have.items() if quantity}


def _moves(j: Asked, by_ref: dict[str, Asked]) -> list[tuple[str, str, int]]:
    if j.reverses is None:
        return list(j.moves)
    moves = OLD.get(j.reverses) or by_ref[j.reverses].moves
    return [(account, asset, -quantity) for account, asset, quantity in moves]


def _net(moves: list[tuple[str, str, int]]) -> dict[tuple[str, str], int]:
    net: dict[tuple[str, str], int] = defaultdict(int)
    for account, asset, quantity in moves:
        net[account, asset] += quantity
    return {key: quantity for key, quantity in net.items() if quantity}


def _outcome(
    j: Asked,
    by_ref: dict[str, Asked],
    told: dict[str, str],
    done: set[str],
    have: dict[tuple[str, str], int],
) -> str:
    if j.at > NOON:
        return "event_in_the_future"
    reason = _of_original(j, by_ref, told, done)
    if reason is None:
        net = _net(_moves(j, by_ref))
        reason = _of_accounts(j, net) or _of_cover(net, have)
    return reason or "booked"


def _of_original(
    j: Asked, by_ref: dict[str, Asked], told: dict[str, str], done: set[str]
) -> str | None:
    if j.reverses is None:
        return None
    if j.reverses in by_ref and by_ref[j.reverses].kind == "reversal":
        return "not_reversible"
    if j.reverses not in OLD and told.get(j.reverses) != "booked":
        return "unknown_journal"
    return "already_reversed" if j.reverses in done else None


def _of_accounts(j: Asked, net: dict[tuple[str, str], int]) -> str | None:
    for (account, _), quantity in net.items():
        kind, _, _ = account.partition("/")
        place = account if kind == "suspense" else kind
        if j.reverses is None and place not in journals.MOVES[j.kind][quantity > 0]:
            return "account_not_allowed"
    if not net:
        return "nothing_to_post"
    sums: dict[str, int] = defaultdict(int)
    for (_, asset), quantity in net.items():
        sums[asset] += quantity
    return "unbalanced" if any(sums.values()) else None


def _of_cover(net: dict[tuple[str, str], int], have: dict[tuple[str, str], int]) -> str | None:
    short = set()
    for (account, asset), quantity in net.items():
        spoken = COMMITTED.get(account, 0) if asset == "USD" else 0
        left = have[account, asset] - spoken + quantity
        if quantity < 0 and left < 0 and not account.startswith("custodian/"):
            short.add(asset)
    if "EQ" in short:
        return "insufficient_units"
    return "insufficient_cash" if short else None


@given(asked())
def test_all_at_once_is_one_after_the_other(journals_: list[Asked]) -> None:
    judged = journals.judge(lines(journals_), terms())
    found = {
        ref: reason or state
        for ref, state, reason in judged.requests.select(
            "journal_ref", "state", "reason"
        ).iter_rows()
    }
    told, have = in_plain_words(journals_)
    assert found == told
    after = defaultdict(int, HELD)
    for account, asset, quantity in judged.flows.select(
        "account", "asset_id", "quantity"
    ).iter_rows():
        after[account, asset] += quantity // 10**6
    assert {key: quantity for key, quantity in after.items() if quantity} == have


@given(asked())
def test_the_identities_hold(journals_: list[Asked]) -> None:
    judged = journals.judge(lines(journals_), terms())
    dated = judged.flows.with_columns(pl.lit(T).alias("effective_date"))
    leg = ledger.Leg(pl.col("account"), "settled", pl.col("asset_id"), pl.col("quantity"))
    postings = ledger.post(dated, [leg])
    assert ledger.unbalanced_journals(postings).is_empty()
    after = ledger.fold(balances(), postings)
    assert ledger.unbacked_holdings(after).is_empty()
    below = after.filter((pl.col("quantity") < 0) & ~pl.col("account").str.starts_with("custodian"))
    assert below.is_empty()
    booked = set(judged.requests.filter(pl.col("state") == "booked")["journal_id"])
    assert set(postings["journal_id"]) == booked
    reversed_ = judged.requests.filter(pl.col("state") == "booked")["reverses"].drop_nulls()
    assert reversed_.is_unique().all()


@given(asked(), st.integers(0, 9))
def test_the_order_of_rows_is_irrelevant(journals_: list[Asked], seed: int) -> None:
    straight = journals.judge(lines(journals_), terms())
    shuffled = journals.judge(lines(journals_, seed), terms())
    assert shuffled.requests.equals(straight.requests)
    assert shuffled.flows.equals(straight.flows)
