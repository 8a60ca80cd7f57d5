"""ACME's investment platform: a pure domain with thin shells around it."""
