"""Runs simulated dates through the platform; as a program it prints their content hashes.

`python -m tests.faults.world_driver HOME URL LAST SHUFFLE KEYS` is for another process, with
another number of threads, another folder and files whose rows are permuted; KEYS is the home whose
salt it uses.
"""

import json
import sys
from datetime import date
from pathlib import Path

from simulator.world import World
from tests.scenarios.driver import Scenario

FIRST, LAST = date(2020, 6, 18), date(2020, 6, 24)
SEED, POTS = 1, 60


def world_of(scenario: Scenario, shuffle: int | None = None) -> World:
    """Return the outside world around an installation."""
    return World(scenario.home.root, SEED, POTS, FIRST, LAST, shuffle=shuffle)


def play(scenario: Scenario, last: date, shuffle: int | None = None) -> list[date]:
    """Run the dates up to `last`; returns them."""
    world = world_of(scenario, shuffle)
    world.reference()
    dates = [day for day in world.business_dates() if day <= last]
    for day in dates:
        world.before(day)
        scenario.sweep()
        scenario.run(day)
    return dates


def main() -> None:
    """Print {date: {table: hash}} as JSON, and the outbox's file hashes."""
    home, url, last, shuffle, keys = sys.argv[1:]
    scenario = Scenario(Path(home), url)
    scenario.keep_keys_of(Path(keys))
    dates = play(scenario, date.fromisoformat(last), int(shuffle))
    told = {str(day): scenario.figures(day) for day in dates}
    told["outbox"] = {
        name: content.decode() for name, content in scenario.outbox().items() if "sha256" in name
    }
    sys.stdout.write(json.dumps(told))
    scenario.close()


if __name__ == "__main__":
    main()
