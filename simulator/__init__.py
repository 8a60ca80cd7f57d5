"""The outside world of the scheme: members, employers, the price vendor and two custodians.

It shares nothing with the platform but the files of the inbox and the outbox.
"""

from simulator.world import World

__all__ = ["World"]
