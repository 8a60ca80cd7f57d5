"""What a bulk over HTTP costs: NDJSON and CSV into the gateway, against COPY of ready rows.

`python -m benchmarks.gateway_bulk [--lines 200000] [--rounds 3]`. A gateway of its own (Granian,
one worker) on an embedded Postgres with fsync on. The limit is COPY of as many finished lines of
`intake.orders`, in the order of the file, into the same table of the same server; `sorted` is the
same COPY in the order of the primary key, as the gateway does it. All of a round follow each other.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time as clock_time
from pathlib import Path

import httpx
import psycopg
from rich.table import Table

from acme.domain.orders import order_id
from acme.gateway.api_keys import create_key
from acme.gateway.bulk_runs import COPIED
from acme.lakehouse import postgres
from acme.lakehouse.home import Home
from acme.lakehouse.platform import initialise
from benchmarks.measuring import MIB, machine, terminal

SOURCE = "EMPLOYER"
MEDIA = {"ndjson": "application/x-ndjson", "csv": "text/csv"}
HEADER = (
    "source,source_ref,received_at,pot_id,kind,asset_id,to_asset_id,units,amount,risk_profile_id\n"
)
PART_BYTES = 256 * 1024
LIMIT = "COPY, order of the file"
SORTED = "COPY, order of the key"


def main(arguments: list[str] | None = None) -> None:
    """Start a server and a gateway, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_bulk", description=__doc__)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    console = terminal()
    console.rule("Bulk orders over HTTP")
    console.print(machine())
    load = f"load average {os.getloadavg()[0]:.1f}"
    seconds: dict[str, list[float]] = defaultdict(list)
    with _installation() as (home, url), _gateway(home) as (base, worker):
        key = _key(url)
        _post(base, key, "ndjson", _written(home, "ndjson", 1_000))
        idle = _memory(worker)
        for _ in range(options.rounds):
            for form in MEDIA:
                path = _written(home, form, options.lines)
                _settle(url)
                seconds[form].append(_post(base, key, form, path))
                path.unlink()
            for name in (LIMIT, SORTED):
                path = _ready(home, options.lines, ordered=name == SORTED)
                _settle(url)
                seconds[name].append(_copy(url, path))
                path.unlink()
        peak = _memory(worker)
    load += f" to {os.getloadavg()[0]:.1f}"
    table = Table(title=f"{options.lines:,} lines, {options.rounds} rounds, {load}")
    for column in ("", "min s", "median s", "lines/s (median)", "× COPY (median of rounds)"):
        table.add_column(column, justify="left" if not column else "right")
    for name, taken in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds[LIMIT], taken, strict=True))
        median = statistics.median(taken)
        rate = f"{options.lines / median:,.0f}"
        table.add_row(name, f"{min(taken):.2f}", f"{median:.2f}", rate, f"{ratio:.2f}")
    console.print(table)
    console.print(f"gateway process: {idle:,.0f} MiB after a small bulk, at most {peak:,.0f} MiB")


@contextmanager
def _installation() -> Iterator[tuple[Home, str]]:
    folder = Path(tempfile.mkdtemp(prefix="acme-benchmark-"))
    folder.chmod(0o755)
    home = Home(folder / "home")
    try:
        initialise(home, "USD", clock_time(12), "Europe/London")
        yield home, postgres.url(home)
    finally:
        postgres.stop(home)
        place = postgres.status(home).folder
        for left in (place, folder):
            if left is not None:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _gateway(home: Home) -> Iterator[tuple[str, int]]:
    """Serve the gateway; yields its address and the process that does the work."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "acme.gateway.serve", "--port", str(port)]
    environment = os.environ | {"ACME_HOME": str(home.root)}
    silent = subprocess.DEVNULL
    process = subprocess.Popen(program, env=environment, stdout=silent, stderr=silent)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{base}/readyz").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield base, _worker(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _worker(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    return max(children, key=_memory)


def _memory(pid: int) -> float:
    """Return the largest resident size of a process so far (MiB)."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / MIB
    return 0.0


def _key(url: str) -> str:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO intake.sources VALUES (%s, true)", [SOURCE])
        key = create_key(cursor, SOURCE, ("submit",))
    time.sleep(2.5)
    return key


def _settle(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


# ---- what is sent -------------------------------------------------------------------------------


def _orders(lines: int) -> Iterator[tuple[str, str, str]]:
    """Yield the reference, pot and amount of contributions that nobody has sent yet."""
    month = secrets.token_hex(4)
    for n in range(lines):
        yield f"{month}-{n:07d}", f"POT-{n * 7919 % 1_000_000:08d}", f"{n % 900 + 25}.{n % 100:02d}"


def _written(home: Home, form: str, lines: int) -> Path:
    path = home.root / f"bulk.{form}"
    with path.open("w", encoding="utf-8") as file:
        if form == "csv":
            file.write(HEADER)
        for ref, pot, amount in _orders(lines):
            if form == "csv":
                file.write(f"{SOURCE},{ref},,{pot},contribution,,,,{amount},\n")
                continue
            order = {"source_ref": ref, "pot_id": pot, "kind": "contribution", "amount": amount}
            file.write(json.dumps(order) + "\n")
    return path


def _ready(home: Home, lines: int, *, ordered: bool) -> Path:
    """Write finished lines of `intake.orders`."""
    bulk = secrets.randbits(62)
    rows = [
        f"{order_id(SOURCE, ref)}\t{SOURCE}\t{ref}\t{pot}\tcontribution\t\\N\t\\N\t\\N\t{amount}"
        f"\t\\N\t\\N\t{n}\t{bulk}\n"
        for n, (ref, pot, amount) in enumerate(_orders(lines), 1)
    ]
    path = home.root / "ready"
    path.write_text("".join(sorted(rows) if ordered else rows), "utf-8")
    return path


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


def _post(base: str, key: str, form: str, path: Path) -> float:
    headers = {
        "Authorization": f"Bearer {key}",
        "Idempotency-Key": secrets.token_hex(8),
        "Content-Type": MEDIA[form],
    }
    began = time.perf_counter()
    answer = httpx.post(
        f"{base}/v1/orders/bulk", content=_parts(path), headers=headers, timeout=600
    )
    taken = time.perf_counter() - began
    if answer.status_code != 201:
        raise RuntimeError(answer.text)
    return taken


def _copy(url: str, path: Path) -> float:
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        with connection.cursor().copy(f"COPY intake.orders ({COPIED}) FROM STDIN") as copy:
            for part in _parts(path):
                copy.write(part)
        connection.commit()
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
