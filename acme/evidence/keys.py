"""The scheme's secrets: the key that signs seals and the key that salts proofs. Makes no seal."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from acme.lakehouse.files import write_atomic
from acme.lakehouse.home import Home, event_clock

OWNER_ONLY = 0o600
SALT_BYTES = 32


def signing_key(home: Home) -> Ed25519PrivateKey:
    """Return the scheme's Ed25519 key, making it on first use."""
    raw = _kept(home.keys / "seal_ed25519.key", _new_signing_key)
    return Ed25519PrivateKey.from_private_bytes(raw)


def salt_key(home: Home) -> bytes:
    """Return the scheme salt key (`rules §6`), making it on first use.

    On the event clock, which is for history, simulation and tests, it is the same everywhere: the
    same inputs give the same roots and seals on every machine.
    """
    make = _known_salt if event_clock(home) else lambda: secrets.token_bytes(SALT_BYTES)
    return _kept(home.keys / "salt.key", make)


def _known_salt() -> bytes:
    return hashlib.sha256(b"a salt for history, simulation and tests").digest()


def public_key(home: Home) -> str:
    """Return the public key that verifies the scheme's seals, in hexadecimal."""
    public = signing_key(home).public_key()
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def verify_signature(public: str, signature: str, message: bytes) -> bool:
    """Say whether `signature` (hexadecimal) over `message` is that of `public`."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _new_signing_key() -> bytes:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    if not path.exists():
        write_atomic(path, make(), mode=OWNER_ONLY)
    return path.read_bytes()
