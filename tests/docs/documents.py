"""Reads a Markdown page for tests: its fenced blocks, its sections, its tables. Runs nothing."""

import re
import shlex
from dataclasses import dataclass

_FENCE = "```"
_HEADING = re.compile(r"(#{1,6}) (.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block: the line of its fence, what kind it is, its attributes, its text."""

    line: int
    kind: str
    attributes: dict[str, str]
    text: str


@dataclass(frozen=True)
class Command:
    """One `$` line of a console block, and the lines printed after it."""

    line: int
    text: str
    output: str


def blocks(page: str) -> list[Block]:
    """All fenced blocks from top to bottom; a fence that is not closed is an error."""
    found = []
    lines = enumerate(page.splitlines(), start=1)
    for number, line in lines:
        if not line.startswith(_FENCE):
            continue
        kind, *words = shlex.split(line.removeprefix(_FENCE)) or [""]
        inside = []
        for _, text in lines:
            if text == _FENCE:
                break
            inside.append(f"{text}\n")
        else:
            raise ValueError(f"line {number}: the block is not closed")
        attributes = dict(word.split("=", 1) for word in words)
        found.append(Block(number, kind, attributes, "".join(inside)))
    return found


def commands(block: Block) -> list[Command]:
    r"""The commands of a console block; text before the first one is an error.

    A command that ends in `\` goes on in the next line.
    """
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), start=block.line + 1):
        if line.startswith("$ "):
            found.append(Command(number, line.removeprefix("$ "), ""))
            continue
        last = found.pop()
        if last.text.endswith("\\"):
            found.append(Command(last.line, f"{last.text}\n{line}", ""))
        else:
            found.append(Command(last.line, last.text, f"{last.output}{line}\n"))
    return found


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next heading of its level or above."""
    inside: list[str] = []
    level = 0
    for line in page.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading and level and len(heading[1]) <= level:
            break
        if level:
            inside.append(line)
        elif heading and heading[2] == title:
            level = len(heading[1])
    if not level:
        raise ValueError(f"no heading {title!r}")
    return "\n".join(inside)


def table_rows(text: str) -> list[list[str]]:
    r"""The cells of the first table, without its header; `\|` is a bar inside a cell."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            break
    return rows[2:]
