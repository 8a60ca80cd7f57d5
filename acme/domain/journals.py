"""Journals that other processes ask for: which are booked, and why the others are not (ADR 20).

A journal is its lines (LINE) under one head (HEAD): signed quantities that are added to the settled
balances of accounts, all of them or none. `request_id` = `orders.order_id(source, journal_ref)`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl

from acme.domain import ledger
from acme.domain import quantities as q
from acme.domain.admission import BOOKED_STATES
from acme.domain.booking import custodian_of
from acme.domain.orders import order_id

KEY: Final = ["source", "journal_ref"]
HEAD: Final = ["book", "kind", "event_time", "reverses", "reverses_run_date", "description"]
LINE: Final = ["line", "account", "asset_id", "quantity"]
REVERSAL: Final = "reversal"
POT, CUSTODIAN = "pot", "custodian"

# kind → where it takes from and gives to: pots, custodians, or one account in suspense. What the
# custodian takes leaves the scheme, what is taken from him has come to it (`rules §8`).
_CHARGES, _DISTRIBUTIONS, _ADJUSTMENTS = (
    f"suspense/{name}" for name in ("charges", "distributions", "adjustments")
)
MOVES: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "charge": (frozenset({POT}), frozenset({_CHARGES})),
    "charge_paid": (frozenset({_CHARGES}), frozenset({CUSTODIAN})),
    "distribution": (
        frozenset({CUSTODIAN, _DISTRIBUTIONS}),
        frozenset({POT, _DISTRIBUTIONS}),
    ),
    "corporate_action": (frozenset({POT, CUSTODIAN}), frozenset({POT, CUSTODIAN})),
    "adjustment": (
        frozenset({POT, CUSTODIAN, _ADJUSTMENTS}),
        frozenset({POT, CUSTODIAN, _ADJUSTMENTS}),
    ),
}
NOTHING: Final = pl.lit(0, dtype=pl.Int128)
OBJECTION: Final[dict[str, pl.DataType]] = {"request_id": pl.String(), "reason": pl.String()}
ACCOUNT: Final = ["book", "account", "asset_id"]


# ---- files --------------------------------------------------------------------------------------


def gathered(rows: pl.DataFrame) -> pl.DataFrame:
    """Bring each journal of a file to one row, as `holds.resolve` compares and holds it.

    rows: KEY, HEAD, LINE and `holds.ORIGIN`. `lines`: JSON of the lines in their order. Where a
    file states a head or a line in two ways, each of its rows stands for itself.
    """
    group = ["sequence", *KEY]
    distinct = _each_once(rows, [*group, *HEAD, *LINE, "file_sha256", "landed_at"])
    texts = [pl.col(name).cast(pl.String) for name in LINE]
    told = distinct.with_columns(
        pl.struct(texts).struct.json_encode().alias("_text"),
        (
            (pl.struct(HEAD).n_unique().over(group) > 1)
            | pl.struct([*group, "line"]).is_duplicated().any().over(group)
        ).alias("_disputed"),
    )
    alone = told.filter("_disputed").with_columns(pl.col("_text").alias("lines"))
    whole = (
        told.filter(~pl.col("_disputed"))
        .group_by([*group, *HEAD, "file_sha256", "landed_at"])
        .agg(pl.col("_text").sort_by("line").str.join(",").alias("lines"), pl.col("row").min())
    )
    columns = [*KEY, *HEAD, "lines", "file_sha256", "row", "sequence", "landed_at"]
    return pl.concat([whole.select(columns), alone.select(columns)])


def lines_of(rows: pl.DataFrame, chosen: pl.DataFrame) -> pl.DataFrame:
    """Return the lines of the journals that count, once each, with their `request_id`.

    rows: as in `gathered`; chosen: KEY and the sequence of the file that states it.
    """
    ids = chosen.select(*KEY, "sequence").with_columns(
        pl.Series("request_id", [order_id(*key) for key in chosen.select(KEY).iter_rows()]).cast(
            pl.String
        )
    )
    return (
        _each_once(
            rows.join(ids, on=[*KEY, "sequence"]),
            ["request_id", *KEY, *HEAD, *LINE, "file_sha256"],
        )
        .with_columns(pl.col("row").cast(pl.Int64))
        .sort("request_id", "line")
    )


def _each_once(rows: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return rows that differ in `columns`, each with the first `row` that has it."""
    return rows.group_by(columns).agg(pl.col("row").min())


def originals_of(lines: pl.DataFrame) -> pl.DataFrame:
    """Return request_id, original (a request_id), run_date of every reversal among the lines."""
    wanted = lines.filter(pl.col("kind") == REVERSAL).unique("request_id")
    ids = [order_id(*names) for names in wanted.select("source", "reverses").iter_rows()]
    return wanted.select(
        "request_id",
        pl.Series("original", ids, dtype=pl.String),
        pl.col("reverses_run_date").alias("run_date"),
    )


# ---- what is known ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """What journals are judged by in the run of `run_date`.

    sources: core.journal_sources. pots: pot_id, book, status, opened_on. assets: asset_id,
    custodian_id, unit_decimals as valid on T. balances: ledger balances that this run starts from.
    committed: result of `committed_cash`. earlier: core.journal_requests of the runs since the
    oldest journal that is to be reversed, as far as they are about one; earlier_lines: their lines.
    """

    run_date: date
    known_at: datetime
    currency: str
    sources: pl.DataFrame
    pots: pl.DataFrame
    assets: pl.DataFrame
    balances: pl.DataFrame
    committed: pl.DataFrame
    earlier: pl.DataFrame
    earlier_lines: pl.DataFrame


def registered(sources: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return the source, kind that may ask for journals on a day: by the newest version alone."""
    newest = (
        sources.filter(pl.col("valid_from") <= day)
        .sort("valid_from")
        .unique(["source", "kind"], keep="last")
    )
    return newest.filter((pl.col("valid_to") >= day).fill_null(value=True)).select("source", "kind")


def committed_cash(orders: pl.DataFrame, assets: pl.DataFrame) -> pl.DataFrame:
    """Return book, account, committed (Int128): settled cash that unreserved buys will take.

    orders: open orders; assets: asset_id, stress and last_price, where one was ever accepted.
    What `rules §4` subtracts for available cash, as `admission.Pot.available_cash` does.
    """
    buys = orders.filter((pl.col("side") == "B") & (pl.col("reserved") == 0)).join(
        assets.select(
            "asset_id",
            q.minor("stress").alias("_stress"),
            q.minor("last_price").fill_null(0).alias("_price"),
        ),
        on="asset_id",
        how="left",
    )
    stressed = q.RATIO_SCALE + q.largest(buys, "_stress")
    q.assert_bounds("stressed cost", q.largest(buys, "units"), q.largest(buys, "_price"), stressed)
    pence = (
        pl.when(pl.col("state").is_in(sorted(BOOKED_STATES)))
        .then(q.minor("consideration"))
        .when(pl.col("quantity_type") == "A")
        .then(q.minor("amount"))
        .otherwise(q.stressed_cost_expr(q.minor("units"), pl.col("_price"), pl.col("_stress")))
    )
    return (
        buys.select("book", ledger.pot_account().alias("account"), pence.alias("_pence"))
        .group_by("book", "account")
        .agg(q.cash_to_quantity(pl.col("_pence").sum()).alias("committed"))
    )


# ---- judging ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """requests: one row per journal, of core.journal_requests and `reverses_journal`.

    flows: request_id, ACCOUNT, journal_id, quantity (Int128, none zero): what is to be posted.
    """

    requests: pl.DataFrame
    flows: pl.DataFrame


def judge(lines: pl.DataFrame, terms: Terms) -> Judged:
    """Say of every journal whether it is booked, whole, or why it is not (ADR 20).

    lines: stage.landed_journals. Journals are taken in the order of event_time, source and
    journal_ref, each on what the ones before it leave.
    """
    requests = _requests(lines)
    is_reversal = pl.col("kind") == REVERSAL
    own = _flows(lines)
    none = originals_of(lines.clear())
    objections = _objections(
        requests.filter(~is_reversal), _known(none, requests, terms), own, terms
    )
    # What is refused on its own terms cannot be taken back either.
    posted = requests.join(objections, on="request_id", how="anti")
    originals = _known(originals_of(lines), posted, terms)
    back = _flows(_taken_back(lines, originals, terms))
    objections = pl.concat(
        [objections, _objections(requests.filter(is_reversal), originals, back, terms)]
    )
    sound = requests.join(objections, on="request_id", how="anti")
    moving = pl.concat([own, back]).join(sound, on="request_id", how="semi")
    objections = pl.concat([objections, _in_turn(sound, originals, moving, terms)])
    outcome = (
        requests.join(objections, on="request_id", how="left")
        .join(
            originals.select("request_id", "original", "original_kind"), on="request_id", how="left"
        )
        .with_columns(
            pl.col("original").alias("reverses"),
            pl.when(pl.col("reason").is_null())
            .then(pl.lit("booked"))
            .otherwise(pl.lit("rejected"))
            .alias("state"),
            pl.when(pl.col("reason").is_null())
            .then(_journal_id("kind", "request_id"))
            .alias("journal_id"),
            _journal_id("original_kind", "original").alias("reverses_journal"),
        )
        .drop("original", "original_kind")
        .sort("request_id")
    )
    booked = outcome.filter(pl.col("state") == "booked").select("request_id", "journal_id")
    return Judged(outcome, moving.join(booked, on="request_id").sort("request_id", *ACCOUNT))


def _journal_id(kind: str, request: str) -> pl.Expr:
    return pl.format("{}:{}", kind, request)


def _requests(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the head of every journal."""
    return lines.group_by(
        "request_id", *KEY, "book", "kind", "event_time", "description", "file_sha256"
    ).agg(pl.len().cast(pl.Int32).alias("lines"))


def _known(named: pl.DataFrame, requests: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Add to what reversals name: original_kind, original_book, today, taken_back.

    A kind of null: no such journal was booked, or asked for, in the run that is named. `today`:
    of this run, so that its own fate is still open. `taken_back`: an earlier run reversed it.
    """
    columns = ["original", "run_date", "original_kind", "original_book", "today"]
    before = terms.earlier.filter(pl.col("state") == "booked").select(
        pl.col("request_id").alias("original"),
        "run_date",
        pl.col("kind").alias("original_kind"),
        pl.col("book").alias("original_book"),
        pl.lit(value=False).alias("today"),
    )
    now = requests.select(
        pl.col("request_id").alias("original"),
        pl.lit(terms.run_date, dtype=pl.Date).alias("run_date"),
        pl.col("kind").alias("original_kind"),
        pl.col("book").alias("original_book"),
        pl.lit(value=True).alias("today"),
    )
    known = pl.concat([before.select(columns), now.select(columns)])
    done = terms.earlier.filter(pl.col("state") == "booked")["reverses"].implode()
    return named.join(known, on=["original", "run_date"], how="left").with_columns(
        pl.col("original").is_in(done).alias("taken_back")
    )


def _taken_back(lines: pl.DataFrame, originals: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Return the lines that reversals stand for: those of what they name, with opposite signs."""
    columns = ["request_id", "book", "account", "asset_id", "quantity"]
    known = pl.concat([frame.select(columns) for frame in (terms.earlier_lines, lines)])
    return (
        originals.select("request_id", "original")
        .join(known.rename({"request_id": "original"}), on="original")
        .with_columns(pl.lit(REVERSAL).alias("kind"), -pl.col("quantity"))
    )


def _flows(lines: pl.DataFrame) -> pl.DataFrame:
    """Return request_id, ACCOUNT, kind, place, quantity: what each adds to whom, if booked.

    A reversal's own lines add nothing. A field is missing only where nobody may ask for the kind.
    """
    place = pl.col("account").str.extract(r"^(pot|custodian)/").fill_null(pl.col("account"))
    return (
        lines.group_by("request_id", *ACCOUNT, "kind")
        .agg(q.minor("quantity").sum())
        .filter(pl.col("quantity") != 0)
        .with_columns(place.alias("place"))
    )


def _objections(
    requests: pl.DataFrame, originals: pl.DataFrame, flows: pl.DataFrame, terms: Terms
) -> pl.DataFrame:
    """Return OBJECTION: the first reason against each journal that its own terms give."""
    may = registered(terms.sources, terms.run_date)
    at_pots = flows.filter(pl.col("place") == POT).join(
        terms.pots.select(
            ledger.pot_account().alias("account"),
            pl.col("book").alias("_book"),
            "status",
            "opened_on",
        ),
        on="account",
        how="left",
    )
    of_assets = flows.join(terms.assets, on="asset_id")
    holder = ledger.custodian_account(custodian_of(pl.col("book"), pl.col("custodian_id")))
    penny = pl.lit(q.QUANTITIES_PER_PENNY, dtype=pl.Int128)
    finest = (
        pl.when(pl.col("asset_id") == terms.currency)
        .then(penny)
        .otherwise(q.unit_quantum_expr(pl.col("unit_decimals")))
    )
    sums = flows.group_by("request_id", "asset_id").agg(pl.col("quantity").sum())
    heads = originals.join(requests.select("request_id", "book"), on="request_id")
    # In the order in which reasons are told.
    against = {
        "source_not_registered": requests.join(may, on=["source", "kind"], how="anti"),
        "event_in_the_future": requests.filter(pl.col("event_time") > terms.known_at),
        "unknown_journal": originals.filter(pl.col("original_kind").is_null()),
        "not_reversible": originals.filter(pl.col("original_kind") == REVERSAL),
        "already_reversed": originals.filter("taken_back"),
        "account_not_allowed": _not_allowed(flows),
        "unknown_pot": at_pots.filter(
            pl.col("opened_on").is_null() | (pl.col("opened_on") > terms.run_date)
        ),
        "wrong_book": pl.concat(
            [
                at_pots.filter(pl.col("book") != pl.col("_book")).select("request_id"),
                heads.filter(pl.col("book") != pl.col("original_book")).select("request_id"),
            ]
        ),
        "closed_pot": at_pots.filter(pl.col("status") == "closed"),
        "unknown_asset": flows.join(terms.assets, on="asset_id", how="anti"),
        "wrong_custodian": of_assets.filter(
            (pl.col("place") == CUSTODIAN) & (pl.col("account") != holder)
        ),
        "too_many_decimals": of_assets.filter(pl.col("quantity") % finest != 0),
        "nothing_to_post": requests.join(flows, on="request_id", how="anti"),
        "unbalanced": sums.filter(pl.col("quantity") != 0),
    }
    found = [
        frame.select("request_id", pl.lit(reason).alias("reason"))
        for reason, frame in against.items()
    ]
    return pl.concat(found).unique("request_id", keep="first")


def _not_allowed(flows: pl.DataFrame) -> pl.DataFrame:
    """Return the flows between accounts that are not of their kind of journal."""
    allowed = pl.DataFrame(
        [
            (kind, place, sign)
            for kind, (takes, gives) in MOVES.items()
            for sign, places in ((-1, takes), (1, gives))
            for place in sorted(places)
        ],
        schema={"kind": pl.String, "place": pl.String, "_sign": pl.Int128},
        orient="row",
    )
    return (
        flows.filter(pl.col("kind") != REVERSAL)
        .with_columns(pl.col("quantity").sign().alias("_sign"))
        .join(allowed, on=["kind", "place", "_sign"], how="anti")
    )


# ---- one after the other ------------------------------------------------------------------------


def _in_turn(
    requests: pl.DataFrame, originals: pl.DataFrame, flows: pl.DataFrame, terms: Terms
) -> pl.DataFrame:
    """Return OBJECTION: what the order of the journals decides, cover and reversals.

    An account that covers everything that is asked of it objects to nothing, whatever becomes of
    what it is given. So only journals on the others, and reversals, are looked at one by one.
    """
    short = _short_accounts(flows, terms)
    contested = flows.join(short, on=ACCOUNT, how="semi")
    taking_back = originals.join(requests, on="request_id", how="semi")
    today = dict(taking_back.filter("today").select("request_id", "original").iter_rows())
    watched = {
        *contested["request_id"],
        *taking_back["request_id"],
        *today.values(),
    }
    turns = _Turns(
        currency=terms.currency,
        free={tuple(key): free for *key, free in short.select([*ACCOUNT, "free"]).iter_rows()},
        today=today,
        originals=dict(taking_back.select("request_id", "original").iter_rows()),
    )
    moves: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    columns = ["request_id", *ACCOUNT, "quantity"]
    for request, *key, quantity in contested.select(columns).iter_rows():
        moves[request].append((tuple(key), quantity))
    ordered = requests.filter(pl.col("request_id").is_in(sorted(watched))).sort("event_time", *KEY)
    found = [
        (request, reason)
        for request in ordered["request_id"]
        if (reason := turns.take(request, moves[request])) is not None
    ]
    return pl.DataFrame(found, schema=OBJECTION, orient="row")


def _short_accounts(flows: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Return book, account, asset_id, free of what may not cover all that is asked of it.

    free: the settled balance, of cash less what is committed, and below zero where that is more.
    Custodians are the contra side: what pots and suspense cover, they hold.
    """
    asked = (
        flows.filter(pl.col("place") != CUSTODIAN)
        .group_by(ACCOUNT)
        .agg(pl.min_horizontal("quantity", NOTHING).sum().alias("_asked"))
    )
    settled = terms.balances.filter(pl.col("state") == ledger.SETTLED).select(
        *ACCOUNT, q.minor("quantity").alias("_settled")
    )
    is_cash = pl.col("asset_id") == terms.currency
    return (
        asked.join(settled, on=ACCOUNT, how="left")
        .join(terms.committed, on=["book", "account"], how="left")
        .select(
            *ACCOUNT,
            "_asked",
            # What there is not counts as nothing.
            pl.sum_horizontal("_settled", pl.when(is_cash).then(-1 * pl.col("committed"))).alias(
                "free"
            ),
        )
        .filter(pl.col("free") + pl.col("_asked") < 0)
    )


@dataclass
class _Turns:
    """What the journals taken so far have left.

    free: what accounts that may be short still have. originals: reversal → what it takes back;
    today: those of them that this run judges itself.
    """

    currency: str
    free: dict[tuple[str, ...], int]
    today: dict[str, str]
    originals: dict[str, str]

    def __post_init__(self) -> None:
        self._booked: set[str] = set()
        self._reversed: set[str] = set()

    def take(self, request: str, moves: Iterable[tuple[tuple[str, ...], int]]) -> str | None:
        """Book a journal, or return why it cannot be; then nothing has changed."""
        original = self.originals.get(request)
        if request in self.today and original not in self._booked:
            return "unknown_journal"
        if original in self._reversed:
            return "already_reversed"
        listed = list(moves)
        short = {key[-1] for key, quantity in listed if quantity < 0 and self._lacks(key, quantity)}
        if short - {self.currency}:
            return "insufficient_units"
        if short:
            return "insufficient_cash"
        for key, quantity in listed:
            self.free[key] += quantity
        self._booked.add(request)
        if original is not None:
            self._reversed.add(original)
        return None

    def _lacks(self, key: tuple[str, ...], quantity: int) -> bool:
        return self.free[key] + quantity < 0
