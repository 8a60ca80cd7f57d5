"""The command line of the simulator, and its exact arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from simulator.__main__ import main
from simulator.exact import cost, format_fixed, half_even, parse_fixed, units_for


def test_reference_then_before_drop_files(tmp_path: Path) -> None:
    base = ["--home", str(tmp_path), "--pots", "20", "--seed", "5"]
    done = CliRunner().invoke(main, [*base, "reference"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) == 6
    done = CliRunner().invoke(main, [*base, "before", "2020-06-01"])
    assert done.exit_code == 0
    assert all(Path(line).is_file() for line in done.output.splitlines())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from", "2019-01-01", "dates"], "prices of the sample"),
        (["--from", "soon", "dates"], "expected a date like"),
        (["--pots", "0", "dates"], "at least 1"),
        (["before", "2020-06-07"], "expected a business date"),
        (["before", "2020-06-02"], "was not dispatched"),
    ],
)
def test_bad_input_is_told_without_a_traceback(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    done = CliRunner().invoke(main, ["--home", str(tmp_path), "--pots", "5", *arguments])
    assert done.exit_code != 0
    assert isinstance(done.exception, SystemExit)
    assert told in done.output


def test_arithmetic_is_exact() -> None:
    assert [half_even(n, 10) for n in (5, 15, 25, 24, 26)] == [0, 2, 2, 2, 3]
    assert cost(1_2345, 4, 10_000_000) == 1234
    assert units_for(100, 4, 3_000_000) == 3333
    assert parse_fixed("-10.5", 4) == -105_000
    assert format_fixed(-5, 2) == "-0.05"
    assert format_fixed(7, 0) == "7"


@pytest.mark.parametrize("text", ["", ".5", "1.", "1e3", "+1", "1,0", "1.00001", "--1", "1.-5"])
def test_what_is_no_exact_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_fixed(text, 4)
