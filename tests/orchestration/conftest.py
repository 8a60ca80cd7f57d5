"""Made-up teams beside the real ones, for the length of a test."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import assets
from acme.lakehouse import contracts
from orchestration import locations
from tests.orchestration.folders import Folders


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folders]:
    """Return folders of teams that exist for this test alone."""
    made = Folders(tmp_path / "teams" / "assets", tmp_path / "data_contracts")
    made.assets.mkdir(parents=True)
    shutil.copytree(contracts.FOLDER, made.contracts)
    monkeypatch.setattr(contracts, "FOLDER", made.contracts)
    monkeypatch.setattr(assets, "__path__", [*assets.__path__, str(made.assets)])
    before = set(sys.modules)
    _forget()
    yield made
    for name in set(sys.modules) - before:
        if name.startswith("assets."):
            del sys.modules[name]
            team = name.split(".")[1]
            if hasattr(assets, team) and name.count(".") == 1:
                delattr(assets, team)
    _forget()


def _forget() -> None:
    contracts._load.cache_clear()
    contracts.all_feeds.cache_clear()
    locations.build.cache_clear()
