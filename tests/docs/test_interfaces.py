"""docs/reference/interfaces.md is true: it names all there is, and its example runs as written."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path

import pytest
from documents import Block, Command, blocks, commands, section, table_rows

from acme.cli.verbs import acme
from acme.lakehouse import contracts
from acme.lakehouse.contracts import FEED_ORDER, Contract
from acme.lakehouse.home import Home

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/interfaces.md").read_text("utf-8")
EXAMPLE = "A worked example: two days and the morning after"
STEP_SECONDS_MAX = 300
FEEDS = [contracts.feed(name) for name in FEED_ORDER]
TABLES = [table for table in contracts.all_tables() if table.schema_name == "core"]


def feed_id(contract: Contract) -> str:
    return contract.name


# ---- nothing is missing -------------------------------------------------------------------------


def test_the_feeds_are_those_with_a_contract_in_landing_order() -> None:
    named = [line for line in section(PAGE, "The feeds").splitlines() if line.startswith("#### ")]
    assert named == [f"#### `{name}`" for name in FEED_ORDER]


@pytest.mark.parametrize("feed", FEEDS, ids=feed_id)
def test_every_column_of_a_feed_is_told_with_its_type(feed: Contract) -> None:
    rows = table_rows(section(PAGE, f"`{feed.name}`"))
    told = [(name.strip("`"), kind.strip("`")) for name, kind, _rules in rows]
    assert told == [(column.name, column.sql_type) for column in feed.columns]


@pytest.mark.parametrize("feed", FEEDS, ids=feed_id)
def test_keys_and_empty_columns_are_told(feed: Contract) -> None:
    rows = {row[0].strip("`"): row[2] for row in table_rows(section(PAGE, f"`{feed.name}`"))}
    keys = {name for name, rules in rows.items() if rules.split(";")[0] == "key"}
    empty = {name for name, rules in rows.items() if rules.startswith("may be empty")}
    assert keys == set(feed.key)
    assert empty == {column.name for column in feed.columns if column.nullable}


@pytest.mark.parametrize("feed", FEEDS, ids=feed_id)
def test_every_rule_of_a_feed_is_named(feed: Contract) -> None:
    text = section(PAGE, "Files in")
    rules = [rule.name for column in feed.columns for rule in column.rules]
    rules += [rule.name for rule in feed.rules]
    assert [rule for rule in rules if f"`{rule}`" not in text] == []


def test_every_command_is_told_with_its_options() -> None:
    rows = table_rows(section(PAGE, "The command"))
    told = {call.strip("`").split()[1]: call for call, _does in rows}
    assert sorted(told) == sorted(acme.commands)
    for name, command in acme.commands.items():
        options = [option for parameter in command.params for option in parameter.opts]
        long = [option for option in options if option.startswith("--")]
        assert [option for option in long if option not in told[name]] == [], name


def test_every_table_is_named() -> None:
    text = section(PAGE, "The tables")
    assert [table.name for table in TABLES if f"`{table.name}`" not in text] == []


def test_the_example_has_a_file_for_every_feed_with_its_header() -> None:
    files = [block for block in blocks(section(PAGE, EXAMPLE)) if "feed" in block.attributes]
    for block in files:
        columns = contracts.feed(block.attributes["feed"]).column_names
        assert block.text.splitlines()[0] == ",".join(columns), block.attributes["file"]
    # Actions on breaks are people's, no order is cancelled, and no other process asks for journals:
    # the example has none of them.
    left_out = {"break_actions", "cancellations", "journal_sources", "journals"}
    assert {block.attributes["feed"] for block in files} == set(FEED_ORDER) - left_out


# ---- the example runs as written ----------------------------------------------------------------


class Reader:
    """Somebody who follows the page from top to bottom in one shell, in an empty folder.

    Where a command changes to and what it exports holds for those after it, and nothing else does.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.home = Home(self.work / ".acme")
        self.folder, self.left = self.work, folder / "left"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ACME_", "DAGSTER_"))}
        binaries = Path(sys.executable).parent
        self.environment = kept | {
            "PYTHONPATH": str(ROOT),
            "PATH": f"{binaries}{os.pathsep}{kept['PATH']}",
        }

    def follow(self, block: Block) -> None:
        """Do what a block says, or compare what it shows; an unknown block is an error."""
        match block.kind, block.attributes:
            case "csv", {"file": name, "feed": _}:
                (self.work / name).write_bytes(block.text.encode())
            case "console", {}:
                for command in commands(block):
                    self.run(command)
            case "csv", {"outbox": name}:
                self.compare(block.line, name, block.text, (self.home.outbox / name).read_bytes())
            case "csv", {"export": arguments}:
                text = f"acme export {arguments}"
                self.compare(block.line, text, block.text, self.shell(block.line, text))
            case "text", {}:
                # For the eye alone.
                pass
            case _:
                pytest.fail(f"line {block.line}: no way to follow {block.kind} {block.attributes}")

    def run(self, command: Command) -> None:
        """Run a command; blank lines at the end of what it prints do not count."""
        printed = self.shell(command.line, command.text).decode()
        printed = printed.replace(str(self.home.root), "$ACME_HOME").rstrip("\n")
        lines = [line for line in printed.splitlines() if line]
        expected = command.output.rstrip("\n")
        self.compare(command.line, command.text, expected, "\n".join(lines).encode())

    def shell(self, line: int, text: str) -> bytes:
        """What a command prints on standard output; it must succeed."""
        after = f"code=$?; {{ pwd; env -0; }} > '{self.left}'; exit $code"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{text}\n{after}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=STEP_SECONDS_MAX,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"line {line}: {text}\nexit {done.returncode}\n{done.stderr.decode()}")
        folder, _, exported = self.left.read_text("utf-8").partition("\n")
        self.folder = Path(folder)
        self.environment = dict(item.split("=", 1) for item in exported.split("\0") if "=" in item)
        return done.stdout

    def compare(self, line: int, what: str, expected: str, got: bytes) -> None:
        """Compare byte for byte."""
        if got != expected.encode():
            difference = unified_diff(
                expected.splitlines(), got.decode().splitlines(), "the page", "the platform"
            )
            pytest.fail(f"line {line}: {what}\n" + "\n".join(difference))


@pytest.fixture
def reader(remove_server: Callable[[Home], None]) -> Iterator[Reader]:
    # Not pytest's own folder: that one is closed to the system user root needs for Postgres.
    folder = Path(tempfile.mkdtemp(prefix="acme-interfaces-"))
    folder.chmod(0o755)
    found = Reader(folder)
    try:
        yield found
    finally:
        remove_server(found.home)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_the_worked_example_gives_every_byte_it_shows(reader: Reader) -> None:
    for block in blocks(PAGE):
        reader.follow(block)
