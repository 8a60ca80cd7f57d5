"""Installations on which things go wrong, and the simulated week around the mis-dated prices."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.faults import disturbed
from tests.scenarios.conftest import scenario, whole

__all__ = ["bench", "scenario", "whole"]


@pytest.fixture(scope="session")
def bench() -> Iterator[ProcessPoolExecutor]:
    """Return a process that plays the functions of `tests.faults.disturbed` on one world.

    They fork, which a process whose threads have worked already must not.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(disturbed.open_world).result()
        try:
            yield pool
        finally:
            pool.submit(disturbed.close_world).result()
