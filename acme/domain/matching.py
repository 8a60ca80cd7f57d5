"""Three-way reconciliation at zero tolerance: books ↔ statements ↔ confirmations (`rules §9`).

Finds what differs as of the close of P and names its class. What becomes of a break from day to
day is `acme.domain.breaks`.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from acme.domain import quantities as q
from acme.domain.booking import CANARY_BOOK, CANARY_CUSTODIAN
from acme.domain.ledger import SETTLED

FOUND_SCHEMA: dict[str, pl.DataType] = {
    "book": pl.String(),
    "custodian_id": pl.String(),
    "asset_id": pl.String(),
    "class": pl.String(),
    "reference": pl.String(),
    "basis": pl.String(),
    "ours": q.QUANTITY,
    "theirs": q.QUANTITY,
    "difference": q.QUANTITY,
    "evidence": pl.String(),
}
# Ends the reference of a consideration break between what is booked and what stands (`rules §7`).
NOT_AS_BOOKED = ":booked"
CANARY_INSTRUCTION = r"^B-\d{4}-\d{2}-\d{2}-canary-"
ACCOUNT = ["book", "custodian_id", "basis"]


def _found(frame: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """Give a frame the columns of FOUND_SCHEMA; what is not named is null."""
    given = {name: pl.lit(None) for name in FOUND_SCHEMA if name not in frame.columns} | columns
    return frame.with_columns(**given).select(
        pl.col(name).cast(dtype) for name, dtype in FOUND_SCHEMA.items()
    )


def current_statements(statements: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Return the rows of the statements of `as_of` that count.

    statements: core.statements columns, of any date. Of several for one custodian, date and basis
    the latest landed counts; of a page sent twice under one statement id, its latest file. One
    sent again in another number of pages is another statement. Equal rows of a file are dropped.
    """
    own_book = pl.when(pl.col("custodian_id") == CANARY_CUSTODIAN).then(pl.lit(CANARY_BOOK))
    of_date = (
        statements.filter(pl.col("statement_date") == as_of)
        .unique(
            [
                "statement_id",
                "basis",
                "page",
                "pages",
                "asset_id",
                "units",
                "file_sha256",
                "custodian_id",
            ]
        )
        .with_columns(own_book.otherwise(pl.lit("live")).alias("book"))
    )
    latest_page = pl.col("sequence") == pl.col("sequence").max().over(
        *ACCOUNT, "statement_id", "page"
    )
    pages = of_date.filter(latest_page)
    latest = (
        pages.group_by(*ACCOUNT, "statement_id")
        .agg(pl.col("sequence").max())
        .sort("sequence", "statement_id")
        .group_by(ACCOUNT)
        .last()
    )
    counts = pages.join(latest, on=[*ACCOUNT, "statement_id", "sequence"], how="semi")
    of_it = [*ACCOUNT, "statement_id", "pages"]
    return pages.join(counts.select(of_it), on=of_it, how="semi")


def statement_pages(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ACCOUNT, statement_id, whole: whether the pages are exactly 1..`pages`."""

    def listed(column: str) -> pl.Expr:
        return pl.col(column).unique().sort().cast(pl.String).str.join(",")

    as_many = pl.col("page").n_unique() == pl.col("pages")
    return rows.group_by(*ACCOUNT, "statement_id").agg(
        (as_many & pl.col("page").is_between(1, pl.col("pages"))).all().alias("whole"),
        listed("page").alias("delivered"),
        listed("pages").alias("announced"),
    )


def believed(balances: pl.DataFrame) -> pl.DataFrame:
    """Return book, custodian_id, basis, asset_id, ours: what we believe each custodian holds.

    A custodian's balances are settled or in flight: a reserve is a pot's own affair.
    """
    held = balances.filter(pl.col("account").str.starts_with("custodian/")).with_columns(
        pl.col("account").str.strip_prefix("custodian/").alias("custodian_id"),
        (-pl.col("quantity")).alias("ours"),
    )
    settled = held.filter(pl.col("state") == SETTLED).with_columns(pl.lit("settled").alias("basis"))
    traded = held.with_columns(pl.lit("traded").alias("basis"))
    return (
        pl.concat([settled, traded])
        .group_by(*ACCOUNT, "asset_id")
        .agg(pl.col("ours").sum().cast(q.QUANTITY))
        .filter(pl.col("ours") != 0)
    )


def awaited(lines: pl.DataFrame, currency: str) -> pl.DataFrame:
    """Return ACCOUNT, asset_id, awaited: what stands confirmed on lines our books do not show yet.

    traded: executions of lines not yet booked; settled: `settled` events of lines not yet
    settled. lines: `acme.domain.execution.progress` of open lines, and of those just ended.
    """
    sign = pl.when(pl.col("side") == "B").then(1).otherwise(-1).cast(pl.Int128)
    executed = lines.filter(pl.col("state") == "placed")
    unsettled = lines.filter(pl.col("state") != "settled")

    def legs(frame: pl.DataFrame, basis: str, units: str, consideration: str) -> list[pl.DataFrame]:
        common = [pl.col("book"), pl.lit(basis).alias("basis")]
        return [
            frame.select(
                *common, "custodian_id", "asset_id", (sign * pl.col(units)).alias("awaited")
            ),
            frame.select(
                *common,
                pl.col("cash_custodian").alias("custodian_id"),
                pl.lit(currency).alias("asset_id"),
                (-1 * sign * q.cash_to_quantity(consideration)).alias("awaited"),
            ),
        ]

    return (
        pl.concat(
            [
                *legs(executed, "traded", "executed_units", "executed_consideration"),
                *legs(unsettled, "settled", "settled_units", "settled_consideration"),
            ]
        )
        .group_by(*ACCOUNT, "asset_id")
        .agg(pl.col("awaited").sum())
        .with_columns(q.as_decimal(pl.col("awaited"), q.QUANTITY))
    )


def compare_statements(
    rows: pl.DataFrame, balances: pl.DataFrame, expected: pl.DataFrame
) -> pl.DataFrame:
    """Compare the books with every whole statement; FOUND_SCHEMA, one row per difference.

    rows: result of `current_statements`; expected: result of `awaited`.
    """
    pages = statement_pages(rows)
    defects = _found(
        pages.filter(~pl.col("whole")),
        **{
            "class": pl.lit("statement_defect"),
            "reference": pl.format("statement:{}", "basis"),
            "evidence": pl.format(
                "statement {}: pages {} of {}", "statement_id", "delivered", "announced"
            ),
        },
    )
    whole = rows.join(pages.filter("whole").select(ACCOUNT), on=ACCOUNT, how="semi")
    # An empty holding is a row of no asset and no units.
    theirs = whole.group_by(*ACCOUNT, "asset_id").agg(
        pl.col("units").sum().cast(q.QUANTITY).alias("theirs")
    )
    ours = believed(balances)
    compared = (
        ours.join(whole, on=ACCOUNT, how="semi")
        .join(theirs, on=[*ACCOUNT, "asset_id"], how="full", coalesce=True)
        .join(expected, on=[*ACCOUNT, "asset_id"], how="left")
        .with_columns(
            (pl.col("theirs").fill_null(0) - pl.col("ours").fill_null(0)).alias("difference")
        )
        .filter(pl.col("difference") != 0)
    )
    named = (
        pl.when(pl.col("difference") == pl.col("awaited"))
        .then(pl.lit("timing"))
        .when(pl.col("theirs").is_null())
        .then(pl.lit("missing_at_custodian"))
        .when(pl.col("ours").is_null())
        .then(pl.lit("missing_in_ledger"))
        .otherwise(pl.lit("quantity"))
    )
    differences = _found(
        compared.with_columns(named.alias("class")),
        reference=pl.format("statement:{}", "basis"),
        evidence=pl.format(
            "ours {}, theirs {}", pl.col("ours").fill_null(0), pl.col("theirs").fill_null(0)
        ),
    )
    return pl.concat([defects, differences, _stale(rows, ours)])


def _stale(rows: pl.DataFrame, ours: pl.DataFrame) -> pl.DataFrame:
    """Return the custodians with a believed balance and no statement of P on any basis."""
    silent = (
        ours.select("book", "custodian_id")
        .unique()
        .join(rows, on=["book", "custodian_id"], how="anti")
    )
    return _found(
        silent,
        **{
            "class": pl.lit("stale_statement"),
            "reference": pl.lit("statement"),
            "evidence": pl.lit("no statement of this date was delivered"),
        },
    )


def compare_instructions(
    lines: pl.DataFrame, events: pl.DataFrame, overdue_from: date
) -> pl.DataFrame:
    """Compare instructions with what stands confirmed; FOUND_SCHEMA.

    lines: open lines, and those just ended, after `progress` and `with_completeness`. events:
    standing events of P. overdue_from: instructions dealt on or before it should have been
    answered by now.
    """
    sent = lines.filter(pl.col("instruction_id").is_not_null())
    undisputed = sent.filter(~pl.col("disputed"))
    by_line = {"reference": pl.col("instruction_id")}
    over = _found(
        undisputed.filter("over_confirmed"),
        **by_line,
        **{
            "class": pl.lit("quantity"),
            "ours": pl.col("net"),
            "theirs": pl.when(pl.col("quantity_type") == "U")
            .then(q.as_decimal(pl.col("executed_units"), q.QUANTITY))
            .otherwise(q.as_decimal(q.cash_to_quantity("executed_consideration"), q.QUANTITY)),
            "evidence": pl.lit("confirmed for more than was instructed; not booked"),
        },
    )
    silent = _found(
        sent.filter(
            ~pl.col("answered")
            & (pl.col("state") == "placed")
            & (pl.col("dealing_date") <= overdue_from)
        ),
        **by_line,
        **{"class": pl.lit("timing"), "evidence": pl.lit("instruction without any answer")},
    )
    return pl.concat(
        [
            over,
            silent,
            _failed(sent, events),
            _mispriced(sent, events),
            _misspent(sent),
            _amended(undisputed),
        ]
    )


def _failed(lines: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return the lines whose settlement failed, and that have not settled on that date or later.

    A line that was booked with nothing has nothing to settle.
    """
    nothing = (
        (pl.col("state") == "booked")
        & (pl.col("confirmed_units") == 0)
        & (pl.col("confirmed_consideration") == 0)
        & (pl.col("crossed") == 0)
    )
    last = (
        events.filter(pl.col("event") == "failed")
        .group_by("instruction_id")
        .agg(pl.col("event_date").max().alias("_failed_on"))
    )
    unsettled = (pl.col("state") != "settled") | (
        pl.col("_failed_on") > pl.col("settled_effective")
    )
    return _found(
        lines.join(last, on="instruction_id").filter(unsettled & ~nothing),
        **{
            "reference": pl.col("instruction_id"),
            "class": pl.lit("settlement_failed"),
            "evidence": pl.lit("the custodian reports a failed settlement"),
        },
    )


def _mispriced(lines: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return executions at another price than the closing price, or whose arithmetic is off.

    A unit line's consideration is `money(units × price)`; an amount line is judged as a whole.
    """
    executed = events.filter(pl.col("event") == "executed").join(
        lines.select(
            "instruction_id",
            "book",
            "custodian_id",
            "asset_id",
            "quantity_type",
            "unit_decimals",
            "closing_price",
        ),
        on="instruction_id",
    )
    adds_up = (pl.col("quantity_type") == "A") | (
        q.minor("consideration") == q.consideration_expr(q.minor("units"), q.minor("price"))
    )
    off_price = _found(
        executed.filter(pl.col("price") != pl.col("closing_price")),
        **{
            "class": pl.lit("price"),
            "reference": pl.col("confirmation_id"),
            "ours": pl.col("closing_price"),
            "theirs": pl.col("price"),
            "difference": pl.col("price") - pl.col("closing_price"),
            "evidence": pl.lit("confirmed at another price than the closing price"),
        },
    )
    off_sum = _found(
        executed.filter(~adds_up),
        **{
            "class": pl.lit("consideration"),
            "reference": pl.col("confirmation_id"),
            "theirs": pl.col("consideration"),
            "evidence": pl.format(
                "units {} at {} do not make {}", "units", "price", "consideration"
            ),
        },
    )
    return pl.concat([off_price, off_sum])


def _amended(lines: pl.DataFrame) -> pl.DataFrame:
    """Return booked lines whose standing executions are not what was booked, and wait (`§7`).

    One confirmed for more than instructed is found by that.
    """
    units, pence = pl.col("executed_units"), pl.col("executed_consideration")
    other_units = units != q.minor("confirmed_units")
    changed = lines.filter(
        pl.col("state").is_in(["booked", "settled"])
        & ~pl.col("over_confirmed")
        & (other_units | (pence != q.minor("confirmed_consideration")))
    )
    return _found(
        changed,
        **{
            "class": pl.when(other_units)
            .then(pl.lit("quantity"))
            .otherwise(pl.lit("consideration")),
            "reference": pl.when(other_units)
            .then(pl.col("instruction_id"))
            .otherwise(pl.col("instruction_id") + NOT_AS_BOOKED),
            "ours": pl.when(other_units)
            .then(pl.col("confirmed_units").cast(q.QUANTITY))
            .otherwise(pl.col("confirmed_consideration").cast(q.QUANTITY)),
            "theirs": pl.when(other_units)
            .then(q.as_decimal(units, q.QUANTITY))
            .otherwise(q.as_decimal(q.cash_to_quantity(pence), q.QUANTITY)),
            "evidence": pl.lit("amended after it was booked"),
        },
    )


def _misspent(lines: pl.DataFrame) -> pl.DataFrame:
    """Return whole amount lines whose units are not what their consideration buys.

    The custodian spends the amount at the closing price: in all `trunc(consideration / price)`
    units at the asset's decimals, however it parts them.
    """
    pence = pl.col("executed_consideration")
    quantum = q.unit_quantum_expr(pl.col("unit_decimals"))
    bought = pence * (q.UNIT_SCALE * q.PRICE_SCALE // q.CASH_SCALE)
    whole = lines.filter(
        (pl.col("quantity_type") == "A")
        & (q.cash_to_quantity("executed_consideration") == q.minor("net"))
    )
    # Without a closing price nobody knows the units: null, and no difference.
    units = bought // (q.minor("closing_price") * quantum) * quantum
    return _found(
        whole.filter(pl.col("executed_units") != units),
        **{
            "class": pl.lit("consideration"),
            "reference": pl.col("instruction_id"),
            "ours": q.as_decimal(units, q.QUANTITY),
            "theirs": q.as_decimal(pl.col("executed_units"), q.QUANTITY),
            "difference": q.as_decimal(pl.col("executed_units") - units, q.QUANTITY),
            "evidence": pl.lit("units are not what the amount buys at the closing price"),
        },
    )


def unknown_instructions(events: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return the events that name no instruction of ours, one row per named instruction.

    known: instruction_id of every open line, and of those just ended.
    """
    strangers = (
        events.join(known, on="instruction_id", how="anti")
        .group_by("instruction_id")
        .agg(pl.col("confirmation_id").sort().first())
    )
    return _found(
        strangers,
        **{
            # The book of real members, unless the id says otherwise.
            "book": pl.when(pl.col("instruction_id").str.contains(CANARY_INSTRUCTION))
            .then(pl.lit(CANARY_BOOK))
            .otherwise(pl.lit("live")),
            "custodian_id": pl.lit(""),
            "class": pl.lit("unknown"),
            "reference": pl.col("instruction_id"),
            "evidence": pl.format("confirmation {} names no open instruction", "confirmation_id"),
        },
    )


def suspended_corrections(moves: pl.DataFrame) -> pl.DataFrame:
    """Return one break for each balance that a correction left in suspense (`rules §7`).

    moves: stage.suspense_moves.
    """
    return _found(
        moves,
        **{
            "class": pl.lit("consideration"),
            "reference": pl.col("journal_id"),
            "difference": pl.col("quantity"),
            "evidence": pl.format(
                "a correction left {} of pot {} in suspense", "quantity", "pot_id"
            ),
        },
    )
