"""What re-balancing costs: read → `acme.domain.rebalancing` → write, against reading and writing.

`python -m benchmarks.rebalancing_kernel [--pots 1000000] [--rounds 5]`. Every measurement runs in
a process of its own; the two of a round follow each other, so that their ratio hardly depends on
what else the machine does.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from acme.domain import rebalancing
from benchmarks import pots as scheme
from benchmarks import reference
from benchmarks.measuring import (
    Cost,
    machine,
    measure,
    measure_apart,
    median_ratio,
    print_cost,
    terminal,
)

MODULE = "benchmarks.rebalancing_kernel"
LIMIT, KERNEL = "limit: read, write", "read, re-balance, write"
PARTS_COMPARED = (1, 4, 16)
OUTPUTS = ("decisions", "trades")
FIGURES = ("value", "delta_units", "trade_units")


def main(arguments: list[str] | None = None) -> None:
    """Make the scheme, check that results are exact, measure, print."""
    options = _options(arguments)
    if options.work:
        _work(options)
        return
    console = terminal()
    console.rule("Re-balancing kernel")
    console.print(machine())
    with tempfile.TemporaryDirectory(prefix="acme-benchmark-") as place:
        folder = Path(place)
        with console.status(f"making {options.pots:,} pots"):
            scheme.make(folder, options.pots)
        with console.status("checking that results are exact"):
            facts = check(folder, options.pots, options.sample)
        for fact in facts:
            console.print(f"[green]✓[/green] {fact}")
        _write(folder, "expected", rebalance(folder, options.pots, 1)[0])
        costs = _rounds(console, folder, options)
    console.print(_report(costs, options))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--pots", type=int, default=1_000_000, help="pots of the scheme")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--parts", type=int, default=8, help="ranges of pots worked one by one")
    parser.add_argument("--sample", type=int, default=2_000, help="pots compared with fractions")
    parser.add_argument("--work", choices=["limit", "kernel"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


# ---- the work ---------------------------------------------------------------------------------


def _work(options: argparse.Namespace) -> None:
    """Do one piece of work in this process and print what it cost."""
    if options.work == "kernel":
        print_cost(measure(lambda: _kernel(options.folder, options.pots, options.parts)))
        return
    expected = {n: pl.read_parquet(options.folder / f"expected-{n}.parquet") for n in OUTPUTS}
    print_cost(measure(lambda: _limit(options.folder, options.pots, options.parts, expected)))


def _limit(folder: Path, pots: int, parts: int, expected: dict[str, pl.DataFrame]) -> None:
    """Read every input, and write as many rows as re-balancing makes, computing nothing."""
    for part, bounds in enumerate(scheme.ranges(pots, parts)):
        scheme.read(folder, bounds if parts > 1 else None)
        slices = {}
        for name, frame in expected.items():
            first, after = (frame.height * p // parts for p in (part, part + 1))
            slices[name] = frame.slice(first, after - first)
        _write(folder, f"limit{part}", slices)


def _kernel(folder: Path, pots: int, parts: int) -> None:
    for part, bounds in enumerate(scheme.ranges(pots, parts)):
        inputs = scheme.read(folder, bounds if parts > 1 else None)
        _write(folder, f"kernel{part}", _rebalance(inputs))


def _rebalance(inputs: scheme.Inputs) -> dict[str, pl.DataFrame]:
    result = rebalancing.rebalance(
        inputs.pots, inputs.balances, inputs.orders, inputs.profiles, inputs.market
    )
    return {"decisions": result.decisions, "trades": result.trades}


def _write(folder: Path, name: str, frames: dict[str, pl.DataFrame]) -> None:
    for output, frame in frames.items():
        frame.write_parquet(folder / f"{name}-{output}.parquet")


def rebalance(folder: Path, pots: int, parts: int) -> list[dict[str, pl.DataFrame]]:
    """Return the results of each range of pots."""
    return [
        _rebalance(scheme.read(folder, bounds if parts > 1 else None))
        for bounds in scheme.ranges(pots, parts)
    ]


# ---- exactness --------------------------------------------------------------------------------


def check(folder: Path, pots: int, sample: int) -> list[str]:
    """Compare a sample with fractions, and ranges of pots with each other; say what was proved."""
    whole, *others = (_whole(rebalance(folder, pots, parts)) for parts in PARTS_COMPARED)
    for other in others:
        for name in OUTPUTS:
            assert_frame_equal(whole[name], other[name])
    decisions = whole["decisions"]
    heads = decisions.filter(pl.col("asset_id") == "")
    due = heads.filter(pl.col("outcome") == "due").height
    compared = _check_sample(folder, decisions, pots, sample)
    outcomes = heads.group_by("outcome").len().sort("len", descending=True)
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.iter_rows())
    share, trades = 100 * due / heads.height, whole["trades"].height
    return [
        f"{heads.height:,} pots ({counts}): {share:.1f} % due, {trades:,} trades",
        f"ranges of pots ({', '.join(map(str, PARTS_COMPARED))}) give identical tables",
        f"{compared:,} decisions of {sample:,} pots equal the fractions of the rules",
    ]


def _whole(parts: list[dict[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    return {name: pl.concat(part[name] for part in parts) for name in OUTPUTS}


def _check_sample(folder: Path, decisions: pl.DataFrame, pots: int, sample: int) -> int:
    inputs = scheme.read(folder)
    step = max(pots // sample, 1)
    names = [scheme.pot_name(number) for number in range(0, step * sample, step)][:sample]
    chosen = pl.col("pot_id").is_in(names)
    balances, orders, ours = (
        _by_pot(frame.filter(chosen)) for frame in (inputs.balances, inputs.orders, decisions)
    )
    terms = _terms(inputs)
    compared = 0
    for pot in inputs.pots.filter(chosen).iter_rows(named=True):
        name = pot["pot_id"]
        expected = reference.rebalance(
            pot, balances[name], orders[name], terms[pot["risk_profile_id"]]
        )
        got = {
            row["asset_id"]: (row["outcome"], *(_exact(row[column]) for column in FIGURES))
            for row in ours[name]
        }
        if got != expected:
            raise AssertionError(f"{name}: the rules give {expected}, the kernel gave {got}")
        compared += len(got)
    return compared


def _exact(value: object) -> Fraction | None:
    return None if value is None else Fraction(str(value))


def _by_pot(frame: pl.DataFrame) -> dict[str, list[reference.Row]]:
    rows: dict[str, list[reference.Row]] = defaultdict(list)
    for row in frame.iter_rows(named=True):
        rows[row["pot_id"]].append(row)
    return rows


def _terms(inputs: scheme.Inputs) -> dict[str, reference.Terms]:
    assets = {row["asset_id"]: row for row in inputs.market.assets.iter_rows(named=True)}
    weights: dict[str, dict[str, Fraction]] = defaultdict(dict)
    for profile, asset, weight in inputs.profiles.weights.iter_rows():
        weights[profile][asset] = Fraction(weight)
    market = inputs.market
    return {
        row["risk_profile_id"]: reference.Terms(
            assets,
            weights[row["risk_profile_id"]],
            row,
            market.currency,
            market.run_date,
            market.as_of,
        )
        for row in inputs.profiles.parameters.iter_rows(named=True)
    }


# ---- measuring --------------------------------------------------------------------------------


def _rounds(console: Console, folder: Path, options: argparse.Namespace) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {LIMIT: [], KERNEL: []}
    same = ["--pots", str(options.pots), "--parts", str(options.parts), "--folder", str(folder)]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=2 * options.rounds)
        for _ in range(options.rounds):
            for name, work in ((LIMIT, "limit"), (KERNEL, "kernel")):
                costs[name].append(measure_apart(MODULE, [*same, "--work", work]))
                progress.advance(task)
    return costs


def _report(costs: dict[str, list[Cost]], options: argparse.Namespace) -> Table:
    table = Table(
        title=f"{options.pots:,} pots × 5 assets in {options.parts} ranges, {options.rounds} rounds"
    )
    table.add_column("work", no_wrap=True)
    headings = ("wall min s", "wall median s", "CPU median s", "peak RSS MiB", "× wall", "× CPU")
    for heading in headings:
        table.add_column(heading, justify="right")
    limit = costs[LIMIT]
    for name, taken in costs.items():
        table.add_row(
            name,
            f"{min(c.wall for c in taken):.2f}",
            f"{statistics.median(c.wall for c in taken):.2f}",
            f"{statistics.median(c.cpu for c in taken):.2f}",
            f"{max(c.peak_mib for c in taken):,.0f}",
            f"{median_ratio([c.wall for c in taken], [c.wall for c in limit]):.2f}",
            f"{median_ratio([c.cpu for c in taken], [c.cpu for c in limit]):.2f}",
        )
    return table


if __name__ == "__main__":
    main()
