"""What people see of an asset's partition and of a check in the UI."""

import dagster as dg
import polars as pl

from acme.lakehouse.lake import Partition
from orchestration import pictures

# The column by which a table's rows are worth counting in a picture.
PICTURED = {
    "core.orders": "kind",
    "core.order_events": "to_state",
    "core.rebalancing_decisions": "outcome",
    "core.rebalancing_trades": "asset_id",
    "core.reconciliation_breaks": "class",
    "core.landed_files": "feed",
}


def asset_key(dataset: str) -> dg.AssetKey:
    """Return the asset of a dataset: [schema, table]."""
    return dg.AssetKey(dataset.split("."))


def metadata(
    dataset: str, partition: Partition, frame: pl.DataFrame, column: str | None = None
) -> dict[str, dg.MetadataValue | int | str]:
    """Return rows, hash, exact totals, a preview, and a picture of the rows by a column."""
    shown: dict[str, dg.MetadataValue | int | str] = {
        "dagster/row_count": partition.rows,
        "file_sha256": partition.sha256,
        **pictures.totals(frame),
    }
    counted = column or PICTURED.get(dataset)
    if partition.rows:
        shown["preview"] = dg.MetadataValue.md(pictures.preview(frame))
    if counted and partition.rows:
        picture = pictures.bars(f"rows by {counted}", pictures.counts(frame, counted))
        shown["picture"] = dg.MetadataValue.md(picture)
    return shown


def check_metadata(failures: pl.DataFrame) -> dict[str, dg.MetadataValue | int | str]:
    """Return how many rows break a check, and the first of them."""
    shown: dict[str, dg.MetadataValue | int | str] = {"failures": failures.height}
    if failures.height:
        shown["first failures"] = dg.MetadataValue.md(pictures.preview(failures))
    return shown
