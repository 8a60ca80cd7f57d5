"""Hypothesis profiles: `ci` by default, HYPOTHESIS_PROFILE=thorough for a long search."""

import os

from hypothesis import HealthCheck, Phase, settings

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile(
    "ci", max_examples=50, deadline=None, derandomize=True, suppress_health_check=QUIET
)
# Few examples, always the same: a mutant is tried against thousands of tests.
settings.register_profile(
    "mutation",
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=QUIET,
)
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
