"""The roles of callers: those without a valid key, and what sets of scopes are called."""

from typing import Final

NOBODY: Final = ("no key", "malformed", "unknown", "revoked", "expired")
SCOPES: Final[dict[str, tuple[str, ...]]] = {
    "submit only": ("submit",),
    "read only": ("read",),
    "compliance only": ("compliance",),
    "all": ("submit", "read", "compliance"),
}
