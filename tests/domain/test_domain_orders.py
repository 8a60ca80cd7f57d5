"""Identity and states of orders (`rules §4`)."""

import hashlib
from itertools import product

import pytest

from acme.domain.orders import (
    KIND_RANK,
    RESERVED_SOURCES,
    TERMINAL,
    IllegalTransitionError,
    assert_transition,
    order_id,
)

STATES = [
    "received",
    "accepted",
    "batched",
    "placed",
    "unknown",
    "executed",
    "part_executed",
    "settled",
    "rejected",
    "cancelled",
]
NEXT = {
    "received": {"accepted", "rejected", "cancelled"},
    "accepted": {"batched", "settled", "rejected", "cancelled"},
    "batched": {"placed"},
    "placed": {"executed", "part_executed", "rejected", "unknown"},
    "unknown": {"executed", "part_executed", "rejected"},
    "executed": {"settled"},
    "part_executed": {"settled"},
}


def test_order_id_is_the_first_32_digits() -> None:
    assert order_id("employer", "42") == hashlib.sha256(b"employer\n42").hexdigest()[:32]
    # printf 'employer\n42' | sha256sum
    assert order_id("employer", "42") == "0ac165f4279653b8532968a05b66331c"
    assert order_id("é", "ß") == hashlib.sha256("é\nß".encode()).hexdigest()[:32]
    assert order_id("a", "bc") != order_id("ab", "c")
    assert order_id("", "x") != order_id("x", "")


@pytest.mark.parametrize(("source", "ref"), [("a\nb", "c"), ("a", "b\nc"), ("\n", "")])
def test_no_line_feed_in_an_identity(source: str, ref: str) -> None:
    with pytest.raises(ValueError, match="line feed"):
        order_id(source, ref)


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_every_pair_of_states(before: str, after: str) -> None:
    if after in NEXT.get(before, set()):
        assert_transition(before, after)
    else:
        with pytest.raises(IllegalTransitionError):
            assert_transition(before, after)


def test_terminal_states_lead_nowhere() -> None:
    assert {"settled", "rejected", "cancelled"} == TERMINAL
    assert not TERMINAL & set(NEXT)


def test_order_of_taking() -> None:
    ranked = sorted(KIND_RANK, key=lambda kind: (KIND_RANK[kind], kind))
    assert ranked == ["contribution", "profile_change", "sell", "switch", "buy", "withdrawal"]
    assert KIND_RANK["contribution"] == KIND_RANK["profile_change"]
    assert KIND_RANK["sell"] == KIND_RANK["switch"]
    assert {"rebalancing", "switch", "withdrawal", "opening"} == RESERVED_SOURCES
