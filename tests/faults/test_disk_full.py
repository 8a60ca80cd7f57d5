"""A disk without room stops a date with a message; with room again, it comes to the same tables."""

from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.faults import disturbed
from tests.faults.crash import ADVICE

# One per kind of file: of the lake or the outbox, a landed one, every file of a process.
POINTS = ("file.write:before", "file.rename:before", "landing.copy:before", "lake.files:before")
mounts = pytest.mark.skipif(bool(disturbed.can_mount()), reason=disturbed.can_mount() or "-")


@pytest.mark.parametrize("point", POINTS)
def test_a_full_disk_is_told_and_leaves_nothing_in_part(
    bench: ProcessPoolExecutor, point: str
) -> None:
    assert bench.submit(disturbed.play, "full", point).result() == []


@mounts
@pytest.mark.parametrize(("folder", "pages"), [("landed", 2), ("lake", 20), ("outbox", 1)])
def test_the_command_names_the_folder_without_room(
    bench: ProcessPoolExecutor, folder: str, pages: int
) -> None:
    code, said, found = bench.submit(disturbed.full_folder, folder, pages).result()
    assert code == 1
    assert f"/home/{folder}" in said
    assert "No space left on device" in said
    assert ADVICE in said
    assert "Traceback" not in said
    assert found == []


@mounts
@pytest.mark.parametrize("room", [0, 300_000])
def test_a_full_disk_under_everything_loses_nothing(bench: ProcessPoolExecutor, room: int) -> None:
    told, found = bench.submit(disturbed.full_everything, room).result()
    assert "room" in told["error"]
    assert found == []
