"""The folder layout, the clock, and durable writes."""

import stat
from pathlib import Path

import pytest

from acme.lakehouse.files import sha256_file, write_atomic
from acme.lakehouse.home import ClockError, Home, clock


def test_home_is_acme_home_or_a_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACME_HOME", raising=False)
    assert Home.from_env().root == tmp_path / ".acme"
    monkeypatch.setenv("ACME_HOME", "elsewhere/x/..")
    assert Home.from_env().root == tmp_path / "elsewhere"


def test_create_makes_folders_and_closes_keys(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "home")
    home.create()
    home.create()
    assert home.inbox.is_dir()
    assert stat.S_IMODE(home.keys.stat().st_mode) == 0o700


@pytest.mark.parametrize("value", ["database", "event"])
def test_clock_takes_its_two_values(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_CLOCK", value)
    assert clock() == value


def test_clock_defaults_to_database_and_refuses_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_CLOCK", raising=False)
    assert clock() == "database"
    monkeypatch.setenv("ACME_CLOCK", "Event")
    with pytest.raises(ClockError, match="'Event'"):
        clock()


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomic(path, b"old")
    write_atomic(path, b"abc", mode=0o600)
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_failed_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("acme.lakehouse.files.os.fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
