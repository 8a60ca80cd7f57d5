"""docs/your-first-process.md, followed word for word in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import Block, Command, blocks, commands

from acme.lakehouse.home import Home

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/your-first-process.md"
STEP_SECONDS_MAX = 900
NOT_COPIED = (".git", ".venv", ".acme", "__pycache__", ".pytest_cache", ".histories", ".mutation")
PROGRAMS = ("acme", "lint-imports", "mypy", "pytest", "python", "ruff")
FAR_FUTURE = 2**32
# What a make, an installation or a test run around this one would say.
FOREIGN = ("ACME_", "DAGSTER_", "MAKE", "MFLAGS", "PYTEST_")


class Reader:
    """Somebody who follows the page: a repository that has been installed, a home, a shell."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        shutil.copytree(ROOT, self.repository, ignore=shutil.ignore_patterns(*NOT_COPIED))
        self._install()
        self.user = folder / "user"
        self.user.mkdir(mode=0o755)
        self.home = Home(self.user / "acme-tutorial")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        self.environment = kept | {"HOME": str(self.user), "PYTHONPATH": str(self.repository)}

    def _install(self) -> None:
        """Give the copy the programs of this interpreter, as up to date for ever."""
        programs = self.repository / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name in PROGRAMS:
            theirs = Path(sys.executable).parent / name
            (programs / name).write_text(f'#!/bin/sh\nexec "{theirs}" "$@"\n', "utf-8")
            (programs / name).chmod(0o755)
        installed = programs.parent / ".installed"
        installed.touch()
        os.utime(installed, (FAR_FUTURE, FAR_FUTURE))

    def follow(self, block: Block) -> None:
        """Write the file a block shows, or run its commands; an unknown block is an error."""
        match block.kind, block.attributes:
            case "console", attributes if not attributes.keys() - {"exit"}:
                for command in commands(block):
                    self.run(command, int(attributes.get("exit", "0")))
            case "yaml" | "python", {"file": name}:
                assert (self.repository / name).is_file(), f"line {block.line}: {name} is not there"
                (self.repository / name).write_text(block.text, "utf-8")
            case _:
                pytest.fail(f"line {block.line}: no way to follow {block.kind} {block.attributes}")

    def run(self, command: Command, expected_code: int) -> None:
        """Run a command; it prints what the page shows, where `…` stands for anything."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.text],
            cwd=self.repository,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS_MAX,
            check=False,
        )
        told = f"line {command.line}: {command.text}\nexit {done.returncode}\n{done.stdout}"
        assert done.returncode == expected_code, told
        shown = command.output.rstrip("\n")
        pattern = ".*".join(map(re.escape, shown.split("…")))
        assert re.fullmatch(pattern, done.stdout.rstrip("\n"), re.DOTALL), f"{told}\nnot\n{shown}"


@pytest.fixture
def reader(remove_server: Callable[[Home], None]) -> Iterator[Reader]:
    # Not pytest's own folder: that one is closed to the system user root needs for Postgres.
    folder = Path(tempfile.mkdtemp(prefix="acme-first-process-"))
    folder.chmod(0o755)
    found = Reader(folder)
    try:
        yield found
    finally:
        if found.home.root.is_dir():
            remove_server(found.home)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_whoever_follows_the_page_ends_with_a_green_run(reader: Reader) -> None:
    for block in blocks(PAGE.read_text("utf-8")):
        reader.follow(block)
    left = {p for p in reader.repository.glob("assets/*") if p.name == "trustees"}
    assert left == set()
    for name in ("CODEOWNERS", "workspace.yaml", "data_contracts/baseline.json"):
        assert (reader.repository / name).read_bytes() == (ROOT / name).read_bytes()
