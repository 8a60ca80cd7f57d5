"""`python -m benchmarks`: every benchmark, one after the other.

`--small` only shows that they work; its ratios say little, because fixed costs weigh more the
fewer pots there are.
"""

from __future__ import annotations

import argparse

from benchmarks import business_day, fleet, gateway_bulk, rebalancing_kernel, replay


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--small", action="store_true", help="few pots, to see that all works")
    small = parser.parse_args().small
    rebalancing_kernel.main(["--pots", "20000", "--rounds", "3", "--parts", "1"] if small else [])
    business_day.main(["--pots", "1000", "--dates", "2"] if small else [])
    replay.main(["--dates", "3", "--sample", "2"] if small else [])
    gateway_bulk.main(["--lines", "5000", "--rounds", "1"] if small else [])
    few = ["--sizes", "10,30", "--rounds", "1", "--day-rounds", "1", "--pots", "100"]
    fleet.main(few if small else [])


if __name__ == "__main__":
    main()
