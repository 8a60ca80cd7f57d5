"""The dealing rules as pure functions: no I/O, clock, environment, database or Dagster here."""
