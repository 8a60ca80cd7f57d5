"""Benchmarks: what the platform costs, as ratios measured in one run against a limit of its own."""
