"""The pictures of the state machines show what the code enforces."""

import dataclasses
from pathlib import Path

import pytest

from acme.domain import batch_life, break_workflow, orders
from acme.operations.state_pictures import machines, main, svg


def test_the_pictures_in_the_documentation_are_up_to_date() -> None:
    assert main(["--check"]) == 0


def test_every_move_is_one_arrow() -> None:
    drawn = {machine.name: svg(machine).count('marker-end="') for machine in machines()}
    assert drawn["order"] == len(orders.TRANSITIONS) + len(orders.CORRECTIONS)
    assert drawn["batch"] == len(batch_life.TRANSITIONS) + len(batch_life.CORRECTIONS)
    people = sum(len(moves or {}) for moves in break_workflow.PEOPLE.values())
    assert drawn["break"] == people + len(break_workflow.EVIDENCE)


def test_an_old_picture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    path = tmp_path / "batch_states.svg"
    path.write_text(path.read_text("utf-8").replace("sealed", "waxed"), "utf-8")
    assert main(["--check"], tmp_path) == 1
    assert "batch_states.svg: differs" in capsys.readouterr().err


def test_a_new_state_needs_a_place_of_its_own() -> None:
    machine = machines()[0]
    lost = dataclasses.replace(machine, moves={**machine.moves, ("accepted", "lost"): ""})
    with pytest.raises(ValueError, match="lost"):
        svg(lost)
    two = dataclasses.replace(machine, places={**machine.places, "unknown": (0, 1)})
    with pytest.raises(ValueError, match="one place"):
        svg(two)
