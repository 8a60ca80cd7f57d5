"""What a command of the shell said and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Told:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Acme = Callable[..., Told]
