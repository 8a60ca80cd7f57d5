"""What is wrong with the files of a published date: read again, in bounded memory, and compared."""

from __future__ import annotations

from acme.lakehouse.control import Publication
from acme.lakehouse.lake import Lake, PartitionDamagedError


def damages(lake: Lake, publication: Publication) -> list[str]:
    """Return one line for each table of a published date that is not what was written.

    A table's file must have the SHA-256 it is named by, and every table that was published must
    still be on record with as many rows.
    """
    manifest = lake.manifest(publication.run_date)
    found = []
    for dataset, stated in sorted(publication.manifest.items()):
        recorded = manifest.get(dataset)
        rows = None if recorded is None else recorded.rows
        if rows != stated.rows:
            got = "no record of it" if rows is None else f"a record of {rows}"
            found.append(
                f"{dataset} of {publication.run_date}: expected {stated.rows} rows, got {got}"
            )
    for dataset, partition in sorted(manifest.items()):
        try:
            lake.verified_file(publication.run_date, dataset, partition)
        except PartitionDamagedError as error:
            found.append(str(error))
    return found
