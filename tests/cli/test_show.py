"""Tables of the command: nothing in them is cut, in a pipe or in a narrow terminal."""

import pytest
from rich.console import Console

from acme.cli import show

HASH = "0123456789abcdef" * 4
WORDS = "NORTH booked the sale of [bold] units a day late"


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    show.table("Breaks", ["id", "hash", "said"], [("bde89d58e48c5a70", HASH, WORDS), ("x", "", "")])
    return capsys.readouterr().out


def test_a_row_is_one_line_where_nobody_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "out", Console(width=40, force_terminal=False))
    (row,) = [line for line in printed(capsys).splitlines() if "bde89d58e48c5a70" in line]
    assert HASH in row
    assert WORDS in row


def test_a_narrow_terminal_folds_words_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "out", Console(width=40, force_terminal=True))
    text = printed(capsys)
    assert any("bde89d58e48c5a70" in line and HASH in line for line in text.splitlines())
    said = [line.split("│")[3].strip() for line in text.splitlines() if line.count("│") > 3]
    assert " ".join(part for part in said if part) == WORDS
