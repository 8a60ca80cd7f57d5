"""ACME's investment platform: the product's own package, a pure domain with thin shells around it."""
