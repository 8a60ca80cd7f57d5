"""What a process's code may not name, told with file and line; and that those there are pure."""

from pathlib import Path

import pytest

from orchestration import process_code

ROOT = Path(__file__).resolve().parents[2]
HEAD = '"""Made up."""\n\n'


def told(tmp_path: Path, code: str) -> list[str]:
    (tmp_path / "process.py").write_text(HEAD + code, "utf-8")
    return list(process_code.impure("treasury/fees", tmp_path))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from datetime import UTC, datetime\nat = datetime.now(UTC)", "4: expected the day's run"),
        ("from datetime import date\nat = date.today()", "got today, which asks a clock"),
        ("import datetime as d\nat = d.datetime.utcnow()", "got utcnow, which asks a clock"),
        ("import os\nhome = os.environ", "3: expected an import of acme.domain, bisect, "),
        ("import os", "got os"),
        ("import os.path", "got os.path"),
        ("from urllib.request import urlopen", "got urllib.request"),
        ("import random", "got random"),
        ("import time", "got time"),
        ("import math", "got math"),
        ("from uuid import uuid4", "got uuid"),
        ("from pathlib import Path", "got pathlib"),
        ("import importlib", "got importlib"),
        ("import polarsx", "got polarsx"),
        ("from assets.finance.charge_rates.process import run", "got assets.finance.charge_rates."),
        ("from assets import finance", "got assets"),
        ("from .. import other", "expected an import of the process's own folder, got .."),
        ("from acme import lakehouse", "got acme.lakehouse"),
        ("from acme.lakehouse import contracts", "got acme.lakehouse"),
        ("def run(day, inputs):\n    import socket", "4: expected an import"),
        ("text = open('x').read()", "got open, which reaches outside of them"),
        ("read = open", "got open"),
        ("text = eval('1')", "got eval"),
        ("print(1)", "got print"),
        ("half = float('0.5')", "3: expected a decimal, got float"),
        ("halves = list(map(float, ['0.5']))", "expected a decimal, got float"),
        ("import polars as pl\nx = pl.read_csv('x')", "4: expected frames in and exact frames out"),
        ("from polars import scan_parquet", "got scan_parquet"),
        ("import polars as pl\nx = pl.Float64", "got Float64"),
        ("def run(day, inputs):\n    return inputs['a'].sample(3)", "got sample"),
        ("def run(day, inputs):\n    inputs['a'].write_csv('x')", "got write_csv"),
        ("def run(:", "3: expected Python, got invalid syntax"),
    ],
)
def test_what_is_not_pure_is_told(tmp_path: Path, code: str, expected: str) -> None:
    found = told(tmp_path, code)
    assert [line for line in found if expected in line], found
    assert all(line.startswith("assets/treasury/fees/process.py:") for line in found)


@pytest.mark.parametrize(
    "code",
    [
        "from __future__ import annotations\nimport polars as pl\nfrom acme.domain import ledger",
        "from acme import domain\nfrom acme.domain.day import Day",
        "from collections.abc import Mapping\nfrom datetime import date, datetime, time",
        "from decimal import Decimal\nfrom typing import Any\nimport dataclasses, functools",
        "from . import rates\nfrom .rates import rate\nfrom assets.treasury.fees import rates as r",
        # Names of one's own, and words in texts, are no builtins.
        "def run(day, inputs, open):\n    now = open\n    return {'open': now}",
        "print = 1\nmore = print",
    ],
)
def test_what_computes_alone_is_pure(tmp_path: Path, code: str) -> None:
    assert told(tmp_path, code) == []


def test_every_module_of_the_folder_is_judged(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import os\n", "utf-8")
    (found,) = told(tmp_path, "from . import helper")
    assert found.startswith("assets/treasury/fees/helper.py:1: expected an import of")


def test_the_processes_that_are_there_are_pure() -> None:
    folders = sorted(path.parent for path in (ROOT / "assets").glob("[a-z]*/*/defs.yaml"))
    assert folders
    for path in folders:
        assert list(process_code.impure(f"{path.parent.name}/{path.name}", path)) == []
