"""Installations on which things go wrong, and the simulated week around the mis-dated prices."""

from tests.scenarios.conftest import scenario, whole

__all__ = ["scenario", "whole"]
