"""The jobs of the day: all of it, and its two real moments."""

from __future__ import annotations

import dagster as dg

MORNING = dg.AssetSelection.groups("land", "post", "reconcile")
DEALING = dg.AssetSelection.groups("decide", "deal", "publish")


def day_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """Return `business_day`, `morning` and `dealing`."""
    return [
        dg.define_asset_job(
            "business_day",
            selection=MORNING | DEALING,
            description="The whole day of T: land, post, reconcile, decide, deal, publish.",
        ),
        dg.define_asset_job(
            "morning",
            selection=MORNING,
            description="Land, post and reconcile: the books as of the close of P.",
        ),
        dg.define_asset_job(
            "dealing",
            selection=DEALING,
            description="Decide, deal and publish, on what the morning proved.",
        ),
    ]
