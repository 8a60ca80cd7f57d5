"""A stream of bytes as blocks of whole lines, numbered from 1; nothing is known of what they say.

However long a line is, no more of it is kept than shows that it is too long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LINE_BYTES_MAX: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, each with its line feed; `first` is the number of the first of them."""

    first: int
    data: bytes
    count: int

    @property
    def too_long(self) -> bool:
        """Say whether a line is longer than LINE_BYTES_MAX."""
        at, end = 0, len(self.data)
        while at < end:
            after = self.data.rfind(b"\n", at, at + LINE_BYTES_MAX + 1) + 1
            if after == 0:
                return True
            at = after
        return False

    def lines(self) -> list[bytes]:
        """Return the lines without their ends."""
        return [line.removesuffix(b"\r") for line in self.data.split(b"\n")[:-1]]


class Lines:
    """Takes the parts of a stream as they come and gives blocks; the last line may be blank."""

    def __init__(self) -> None:
        """Begin with line 1."""
        self._carry = b""
        self._skipping = False
        self._next = 1

    def feed(self, part: bytes) -> Block | None:
        """Return the whole lines there are by now, but for blank ones that may be the last."""
        if self._skipping:
            end = part.find(b"\n")
            if end < 0:
                return None
            part, self._skipping = part[end:], False
        data = self._carry + part
        ended = data.rfind(b"\n") + 1
        filled = len(data[:ended].rstrip(b"\r\n"))
        whole = data.find(b"\n", filled) + 1 if filled else 0
        if ended - whole > LINE_BYTES_MAX:
            whole = ended
        if len(data) - ended > LINE_BYTES_MAX:
            self._skipping = True
            data = data[: ended + LINE_BYTES_MAX + 1]
        self._carry = data[whole:]
        return self._block(data[:whole])

    def finish(self) -> Block | None:
        """Return what is left at the end of the stream."""
        data, self._carry = self._carry, b""
        if data and not data.endswith(b"\n"):
            data += b"\n"
        lines = data.split(b"\n")[:-1]
        if lines and not lines[-1].strip(b"\r"):
            lines.pop()
        return self._block(b"".join(line + b"\n" for line in lines))

    def _block(self, data: bytes) -> Block | None:
        if not data:
            return None
        block = Block(self._next, data, data.count(b"\n"))
        self._next += block.count
        return block
