"""A disk above its watermark: orders are refused, reads go on, and it ends by itself."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from acme.gateway import admission
from acme.gateway.admission import DiskWatch, WatermarkError
from tests.gateway.conftest import ORDER, Served, submit

GIB = 1024**3


def disk(used: int, free: int, reserved: int = 0) -> SimpleNamespace:
    """Return what statvfs says of a disk, sizes in GiB."""
    return SimpleNamespace(
        f_frsize=GIB, f_blocks=used + free + reserved, f_bfree=free + reserved, f_bavail=free
    )


@pytest.mark.parametrize(
    ("of", "refused"),
    [
        (disk(10, 90), None),
        (disk(90, 10), None),
        (disk(901, 99), "91 % full"),
        (disk(89, 1, reserved=10), "99 % full"),
        (disk(0, 0), "0 MiB left"),
        (disk(5, 1), None),
    ],
)
def test_the_watermark(
    of: SimpleNamespace, refused: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(admission.os, "statvfs", lambda path: of)
    reason = DiskWatch([tmp_path]).reason()
    assert (reason is None) if refused is None else (refused in (reason or ""))
    assert str(tmp_path) not in (reason or "")


def test_it_is_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now, looks = 0.0, []
    monkeypatch.setattr(
        admission.os, "statvfs", lambda path: looks.append(path) or disk(len(looks) * 95, 5)
    )
    watch = DiskWatch([tmp_path], lambda: now)
    assert [watch.reason() == watch.reason() for _ in range(9)] == [True] * 9
    assert len(looks) == 1
    now = 1.0
    watch.reason()
    assert len(looks) == 2


def test_a_disk_that_is_gone_is_no_room(tmp_path: Path) -> None:
    assert DiskWatch([tmp_path / "gone"]).reason() == "a disk cannot be read"


@pytest.mark.parametrize("text", ["101", "-1", "x", "1.5"])
def test_a_watermark_is_a_whole_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_GATEWAY_DISK_USED_MAX", text)
    with pytest.raises(WatermarkError, match="ACME_GATEWAY_DISK_USED_MAX"):
        DiskWatch([])


@pytest.mark.anyio
async def test_a_full_disk_refuses_what_is_written_and_nothing_else(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await gateway.client(gateway.key())
    first = await submit(client, "one")
    now = 0.0
    watch = DiskWatch([gateway.home.root], lambda: now)
    gateway.door.gateway.inbox.refusal = watch.reason
    full = [True]
    real = os.statvfs
    monkeypatch.setattr(
        admission.os, "statvfs", lambda path: disk(99, 1) if full[0] else real(path)
    )
    order = first.headers["location"]
    refused = [
        await submit(client, "two", ORDER | {"source_ref": "r2"}),
        await submit(client, "one"),
        await client.delete(order),
        await client.get("/readyz"),
    ]
    for answer in refused:
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "above its watermark" in answer.json()["detail"]
    assert (await client.get(order)).status_code == 200
    assert (await client.get("/healthz")).status_code == 200
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(1,)]
    full[0], now = False, 1.0
    assert (await client.get("/readyz")).status_code == 200
    assert (await client.delete(order)).status_code == 200
