"""`GET /v1/orders/{order_id}/proof`: that an order was dealt in a sealed batch, for offline use."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from acme.domain.orders import TERMINAL
from acme.evidence import inclusion
from acme.evidence.inclusion import InclusionProof, SealedTree
from acme.gateway.answer_types import OrderId, PublicKey, Sha256, Signature
from acme.gateway.conditional import etag, headers, not_modified
from acme.gateway.order_answers import StoredOrder, find_order, valid_id
from acme.gateway.problems import ProblemError
from acme.gateway.published import identity
from acme.gateway.state import Gateway
from acme.lakehouse.lake import PartitionDamagedError
from acme.lakehouse.platform import Platform

# Leaves of the trees that are kept, at 96 bytes each; the newest tree is kept whatever its size.
LEAVES_KEPT_MAX: Final = 1_000_000
_BATCH: Final = re.compile("B-([0-9]{4}-[0-9]{2}-[0-9]{2})-(live|canary)")
_STATE: Final = (
    "SELECT source, state, reason, batch_id FROM served.order_states WHERE order_id = %s"
)


class Proof(msgspec.Struct):
    """A proof and the date it was published with.

    `leaf` and `header` are canonical JSON, the very text that was hashed; hashes are hexadecimal,
    `path` goes from the leaf up.
    """

    published_date: date
    published_at: datetime
    order_id: OrderId
    batch_id: str
    leaf: str
    leaf_hash: Sha256
    leaf_index: int
    tree_size: int
    path: tuple[Sha256, ...]
    merkle_root: Sha256
    header: str
    seal: Sha256
    signature: Signature
    public_key: PublicKey


@dataclass(frozen=True)
class _Known:
    """What is known of an order: whose it is, its published state, where its batch would be."""

    source: str | None
    state: str | None
    reason: str | None
    batch_id: str | None
    stored: StoredOrder | None


class Trees:
    """The trees of batches that were asked for lately. For one thread."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: OrderedDict[str, SealedTree] = OrderedDict()

    def of(self, platform: Platform, run_date: date, batch_id: str) -> SealedTree | None:
        """Return the tree of a batch of a published date."""
        found = self._kept.pop(batch_id, None)
        found = found or inclusion.sealed_tree(platform, run_date, batch_id)
        if found is not None:
            self._kept[batch_id] = found
            while len(self._kept) > 1 and self._leaves() > LEAVES_KEPT_MAX:
                self._kept.popitem(last=False)
        return found

    def _leaves(self) -> int:
        return sum(sealed.tree.size for sealed in self._kept.values())


async def proof(request: Request) -> Response:
    """Answer the order's owner, or compliance, with a proof once its batch is published."""
    gateway: Gateway = request.app.state.gateway
    call = request.state.call
    caller = call.authorised(gateway, "read", "compliance")
    order_id = valid_id(request.path_params["order_id"])
    known = await _known(request, order_id)
    if "compliance" not in caller.scopes and known.source != caller.source:
        raise ProblemError("not_found", "no order of yours has this id")
    call.order_id = order_id
    trees: Trees = request.app.state.trees
    found = await gateway.published.work(
        lambda: _prove(gateway.published.platform, trees, order_id, known)
    )
    if found is None:
        raise _without_batch(known)
    tag = etag(found[0], "proof", order_id)
    body = msgspec.json.encode(found[1])
    return not_modified(request, tag) or Response(
        body, headers=headers(tag), media_type="application/json"
    )


async def _known(request: Request, order_id: str) -> _Known:
    gateway: Gateway = request.app.state.gateway
    stored = await find_order(gateway, request.app.state.answers, order_id)
    async with gateway.reading() as connection:
        cursor = await connection.execute(_STATE, [order_id])
        row = await cursor.fetchone()
    if row is None:
        return _Known(stored.source if stored else None, None, None, None, stored)
    return _Known(row[0], row[1], row[2], row[3], stored)


def _prove(
    platform: Platform, trees: Trees, order_id: str, known: _Known
) -> tuple[str, Proof] | None:
    """Return the identity of the date and the proof; None where no published batch has it."""
    for day, batch_id in _places(platform, order_id, known):
        publication = platform.control.publication(day)
        sealed = None if publication is None else trees.of(platform, day, batch_id)
        if publication is None or sealed is None:
            continue
        found = inclusion.prove(platform, sealed, order_id)
        if found is not None:
            tag = identity(publication, platform.lake.manifest(day))
            return tag, _answer(day, publication.published_at, found)
    if known.batch_id is not None:
        raise PartitionDamagedError(f"order {order_id} is not in its batch {known.batch_id}")
    return None


def _answer(day: date, published_at: datetime, found: InclusionProof) -> Proof:
    names = [name for name in Proof.__struct_fields__ if not name.startswith("published")]
    return Proof(day, published_at, **{name: getattr(found, name) for name in names})


def _places(platform: Platform, order_id: str, known: _Known) -> list[tuple[date, str]]:
    """Return (date, batch) in which the order may be."""
    if known.batch_id is not None:
        named = _BATCH.fullmatch(known.batch_id)
        if named is None:
            raise ValueError(f"{known.batch_id!r} is no id of a batch")
        return [(date.fromisoformat(named[1]), known.batch_id)]
    if known.state is not None:
        return []
    if known.stored is not None:
        day = known.stored.dealing.date
        return [(day, f"B-{day}-{book}") for book in ("live", "canary")]
    # An order of the platform itself, or one of a file: nobody but compliance comes this far.
    return inclusion.batches_of(platform, order_id)


def _without_batch(known: _Known) -> ProblemError:
    if known.stored is not None and known.stored.cancelled:
        return ProblemError("not_batched", "the order was cancelled before it was dealt")
    if known.state in TERMINAL:
        why = f" ({known.reason})" if known.reason else ""
        return ProblemError(
            "not_batched", f"the order was {known.state}{why} without being dealt in a batch"
        )
    if known.state is None and known.stored is None:
        return ProblemError("not_found", "no published batch has this order")
    return ProblemError("not_found", "the order is in no published batch yet")


ROUTES: Final = [Route("/v1/orders/{order_id}/proof", proof, methods=["GET"])]
