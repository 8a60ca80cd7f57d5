"""The entry of the command: stopped while it loads, bytes that are no text, what it leaves open."""

import subprocess
import sys
from pathlib import Path

import pytest

from acme.lakehouse.platform import Platform
from tests.cli.told import Acme

ROOT = Path(__file__).resolve().parents[2]
# Sends itself the signal of Ctrl-C when the verbs are about to be loaded.
STOPPED_LOADING = """
import os, signal, sys

# A shell has what it runs in the background ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "acme.cli.verbs":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Stop())
sys.argv = ["acme", "status"]
from acme.cli.main import main
main()
"""


def test_ctrl_c_while_the_verbs_are_loaded_is_a_message() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_LOADING], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"stopped\n")


def test_an_argument_that_is_no_text_is_a_message(acme: Acme) -> None:
    said = acme("breaks", "comment", "0" * 16, "--comment", "bad \udcff\udcfe bytes")
    assert said.code == 2
    assert said.err == "error: argument 5: expected UTF-8, got 'bad \\udcff\\udcfe bytes'\n"


@pytest.mark.parametrize("key", [("--key", "acme_\udcff"), ("--key=acme_\udcff",)])
def test_a_key_that_is_no_text_is_not_shown(acme: Acme, key: tuple[str, ...]) -> None:
    said = acme("submit", "orders.csv", *key)
    assert said.code == 2
    assert said.err == f"error: argument {2 + len(key)}: expected UTF-8, got other bytes\n"


@pytest.mark.parametrize(("arguments", "code"), [(("holds",), 0), (("breaks", "export"), 1)])
def test_what_a_command_opened_is_closed_however_it_ends(
    acme: Acme,
    tmp_path: Path,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
) -> None:
    monkeypatch.setenv("ACME_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ACME_POSTGRES_URL", database)
    closed: list[Platform] = []
    close = Platform.close

    def noted(platform: Platform) -> None:
        closed.append(platform)
        close(platform)

    monkeypatch.setattr(Platform, "close", noted)
    assert acme("init", "--currency", "USD").code == 0
    assert acme(*arguments).code == code
    assert [platform.home.root for platform in closed] == [tmp_path / "home"] * 2


@pytest.mark.parametrize(
    "arguments", [("--currency", "usd"), ("--currency", ""), ("--timezone", "Moon/Sea")]
)
def test_an_impossible_scheme_is_refused_before_anything_is_made(
    acme: Acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ACME_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ACME_POSTGRES_URL", "")
    said = acme("init", *(() if "--currency" in arguments else ("--currency", "USD")), *arguments)
    assert (said.code, said.err.startswith("error: ")) == (1, True)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("below", ["", "/home"])
def test_a_file_in_place_of_the_home_is_named(
    acme: Acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    monkeypatch.setenv("ACME_HOME", f"{file}{below}")
    for verb in (("status",), ("init", "--currency", "USD"), ("down",)):
        said = acme(*verb)
        assert said.code == 1
        assert said.err == f"error: ACME_HOME: expected a folder, got the file {file}\n"
