"""Kinds of text in answers: exact numbers, hashes, ids; the patterns are those of the OpenAPI."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

Units: TypeAlias = Annotated[str, Meta(pattern=r"^-?[0-9]{1,22}\.[0-9]{6}$")]
Money: TypeAlias = Annotated[str, Meta(pattern=r"^-?[0-9]{1,22}\.[0-9]{2}$")]
Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
PublicKey: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Signature: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{128}$")]
OrderId: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
Book: TypeAlias = Literal["live", "canary"]
