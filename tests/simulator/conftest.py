"""A June 2020 played once for all tests, and small worlds in fresh folders."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from outbox_stub import FIRST, LAST, play

from simulator.world import World


@pytest.fixture(scope="session")
def june(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a June 2020 played once, 300 pots; not to be changed."""
    home = tmp_path_factory.mktemp("june")
    play(World(home, 7, 300, FIRST, LAST), home)
    return home


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """Builds a small world in a fresh folder."""

    def build(first: date = FIRST, last: date = LAST, **options: int) -> World:
        return World(tmp_path, 7, 50, first, last, **options)

    return build
