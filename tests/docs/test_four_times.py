"""docs/reference/four-times.md is true: its examples run as written, to the last byte."""

from pathlib import Path

import pytest
from documents import blocks, section, table_rows
from test_interfaces import Reader, reader

from acme.evidence.times import FUNCTIONS

__all__ = ["reader"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/four-times.md").read_text("utf-8")


def test_every_function_is_told() -> None:
    rows = table_rows(section(PAGE, "Asking"))
    assert [row[0].strip("`") for row in rows] == list(FUNCTIONS)


@pytest.mark.slow
def test_the_examples_give_every_byte_they_show(reader: Reader) -> None:
    for block in blocks(PAGE):
        reader.follow(block)
