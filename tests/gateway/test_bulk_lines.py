"""A stream cut anywhere gives the same numbered lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from acme.gateway.bulk_lines import LINE_BYTES_MAX, Lines

PIECES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\n\n", b" "]), max_size=30)


def numbered(parts: list[bytes]) -> list[tuple[int, bytes]]:
    lines = Lines()
    blocks = [lines.feed(part) for part in parts] + [lines.finish()]
    found = []
    for block in blocks:
        if block is not None:
            assert len(block.lines()) == block.count
            found += [(block.first + n, line) for n, line in enumerate(block.lines())]
    return found


@given(PIECES, st.integers(1, 7))
def test_cutting_makes_no_difference(pieces: list[bytes], size: int) -> None:
    body = b"".join(pieces)
    whole = body.split(b"\n")
    if not whole[-1]:
        whole.pop()
    if whole and not whole[-1].strip(b"\r"):
        whole.pop()
    expected = [(n, line.removesuffix(b"\r")) for n, line in enumerate(whole, 1)]
    assert numbered([body]) == expected
    assert numbered([body[n : n + size] for n in range(0, len(body), size)]) == expected


def test_a_line_without_end_is_not_kept() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"x" * LINE_BYTES_MAX) is None
        assert len(lines._carry) <= LINE_BYTES_MAX + 1
    block = lines.feed(b"xx\nnext\n")
    assert block is not None
    assert block.too_long
    assert [len(line) for line in block.lines()] == [LINE_BYTES_MAX + 1, 4]


def test_the_longest_line_is_not_too_long() -> None:
    for length, too_long in ((LINE_BYTES_MAX, False), (LINE_BYTES_MAX + 1, True)):
        block = Lines().feed(b"a\n" + b"x" * length + b"\nb\n")
        assert block is not None
        assert block.too_long == too_long
