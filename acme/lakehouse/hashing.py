r"""The content hash of a dataset: what "equal bytes" means; no file and no table is touched.

The hash is SHA-256 over this canonical text in UTF-8:

* first line: `acme-content-1`, the dataset's full name, then `name type` of every hashed
  column in contract order, separated by tabs;
* then one line per row in key order, its hashed values separated by tabs;
* every line, the last included, ends in one line feed.

Values: decimals with their full scale (`1.500000`), integers in digits, dates `2020-01-31`,
instants `2020-01-31T11:59:59.000000Z`, booleans `true` and `false`, text as it is but with
backslash, tab, line feed and carriage return written `\\`, `\t`, `\n`, `\r`. Null is `\N`,
which no text can equal, since a backslash in text is always doubled or followed by t, n or r.
"""

import hashlib
from typing import Final

import polars as pl

from acme.lakehouse.contracts import Column, Contract

FORMAT: Final = "acme-content-1"

# Rows turned to text at a time; it bounds memory and does not show in the hash.
_SLICE_ROWS: Final = 250_000
_NULL: Final = "\\N"
_ESCAPES: Final = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


def content_hash(contract: Contract, frame: pl.DataFrame) -> str:
    """SHA-256, 64 hexadecimal digits, over the hashed columns of `frame` in key order.

    `frame` is enforced first (ContractViolation where it breaks its contract), so neither the
    order of its rows and columns nor the number of threads shows in the hash.
    """
    return content_hash_of_enforced(contract, contract.enforce(frame))


def content_hash_of_enforced(contract: Contract, frame: pl.DataFrame) -> str:
    """As `content_hash`, for a frame that `contract.enforce` returned.

    Where the key itself is not hashed (where a row stood in a file, say), the rows are put in
    the order of all that is.
    """
    digest = hashlib.sha256(_heading(contract))
    columns = contract.hashed_columns
    names = [column.name for column in columns]
    if not set(contract.key) <= set(names):
        frame = frame.sort(names, nulls_last=False)
    line = pl.concat_str([_text(column) for column in columns], separator="\t") + "\n"
    for rows in frame.iter_slices(_SLICE_ROWS):
        digest.update(_bytes_of(rows.select(line.alias("line")).to_series()))
    return digest.hexdigest()


def _heading(contract: Contract) -> bytes:
    columns = [f"{column.name} {column.sql_type}" for column in contract.hashed_columns]
    return ("\t".join([FORMAT, contract.dataset, *columns]) + "\n").encode()


def _text(column: Column) -> pl.Expr:
    value = pl.col(column.name)
    match column.dtype:
        case pl.String():
            text = value
            for plain, escaped in _ESCAPES:
                text = text.str.replace_all(plain, escaped, literal=True)
        case pl.Datetime():
            text = value.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
        case pl.Date():
            text = value.dt.to_string("%Y-%m-%d")
        case _:
            # Decimals keep their full scale, booleans become true and false.
            text = value.cast(pl.String)
    return text.fill_null(_NULL)


def _bytes_of(lines: pl.Series) -> memoryview:
    """The UTF-8 bytes of all strings, one after the other, without a Python string for each."""
    array = lines.to_arrow(compat_level=pl.CompatLevel.oldest())
    _validity, offsets, data = array.buffers()
    first, last = (
        int.from_bytes(memoryview(offsets)[8 * at : 8 * at + 8], "little")
        for at in (array.offset, array.offset + len(array))
    )
    return memoryview(data)[first:last] if data is not None else memoryview(b"")
