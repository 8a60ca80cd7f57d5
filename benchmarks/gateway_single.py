"""Single orders over HTTP against the same server's durable single-row inserts, client for client.

`python -m benchmarks.gateway_single`: one embedded Postgres with fsync on, one gateway. Rounds take
turns: 32 `wrk` connections send orders of their own, each answered after its commit; 32 `pgbench`
clients insert rows of the same columns, each in a transaction of its own. Then a burst: ten times
as many connections for half a minute. Needs `wrk` (Debian: apt-get install wrk).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from datetime import time as clock
from pathlib import Path
from typing import Self

import psycopg
from rich.table import Table

from acme.gateway.api_keys import create_key
from acme.lakehouse import postgres
from acme.lakehouse.home import Home
from acme.lakehouse.platform import Platform, initialise
from benchmarks.measuring import median_ratio, terminal

ROOT = Path(__file__).resolve().parents[1]
CLIENTS, BURST = 32, 10
TABLE = "CREATE TABLE IF NOT EXISTS public.single (LIKE intake.orders INCLUDING ALL)"
SCRIPT = """\
\\set a random(0, 4611686018427387903)
INSERT INTO public.single (order_id, source, source_ref, pot_id, kind, amount, body_sha256,
    calendar_sequence)
VALUES (md5((:client_id)::text || '-' || (:a)::text), 'EMPLOYER', 'R-' || (:a)::text, 'P-1',
    'contribution', 10.00,
    decode('00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff', 'hex'), 0);
"""


@dataclass(frozen=True)
class Measured:
    """What one round came to: answers per second, milliseconds of the 50th and 99th percentile."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


class Served:
    """An installation with its gateway, for as long as the context lasts."""

    def __init__(self, workers: int) -> None:
        """Make it in a folder of its own."""
        self._folder = Path(tempfile.mkdtemp(prefix="acme-bench-"))
        self._folder.chmod(0o755)
        self.home = Home(self._folder / "home")
        self.port = 20_000 + os.getpid() % 10_000
        self._workers = workers

    def __enter__(self) -> Self:
        """Initialise, start, wait until it is ready."""
        os.environ["ACME_HOME"] = str(self.home.root)
        self.platform: Platform = initialise(self.home, "USD", clock(12), "Europe/London")
        with self.platform.control.transaction() as cursor:
            cursor.execute("INSERT INTO intake.sources VALUES ('EMPLOYER', true)")
            self.key = create_key(cursor, "EMPLOYER", ("submit", "read"))
        self._gateway = subprocess.Popen(
            [
                *(sys.executable, "-m", "acme.gateway.serve"),
                *("--port", str(self.port), "--workers", str(self._workers)),
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            if self.waiting() == 0:
                return self
            time.sleep(0.1)
        raise RuntimeError("the gateway does not become ready")

    def __exit__(self, *error: object) -> None:
        """Stop and remove everything."""
        self._gateway.terminate()
        self._gateway.wait()
        self.platform.control.close()
        folder = postgres.status(self.home).folder
        postgres.stop(self.home)
        for place in (folder, self._folder):
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)

    def waiting(self) -> int | None:
        """Return how many orders wait for a commit; None where nobody answers."""
        with suppress(OSError):
            address = f"http://127.0.0.1:{self.port}/readyz"
            with urllib.request.urlopen(address, timeout=10) as answer:
                waiting: int = json.load(answer)["waiting"]
                return waiting
        return None


def by_http(served: Served, name: str, clients: int, seconds: int) -> Measured:
    """Send orders with `wrk`."""
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s"),
            *("-s", str(ROOT / "benchmarks" / "gateway_single.lua")),
            f"http://127.0.0.1:{served.port}/v1/orders",
        ],
        env=os.environ | {"ACME_API_KEY": served.key, "ACME_BENCH_RUN": name},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.partition("JSON ")[2])
    seconds_taken = told["us"] / 1e6
    return Measured(
        told["requests"] / seconds_taken,
        told["p50_us"] / 1000,
        told["p99_us"] / 1000,
        told["errors"],
    )


def by_pgbench(served: Served, seconds: int) -> Measured:
    """Insert rows with `pgbench`, prepared statements, one transaction each."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "insert.sql"
        script.write_text(SCRIPT, "utf-8")
        done = subprocess.run(
            [
                *(str(postgres.tool("pgbench")), "-n", "-M", "prepared", "-j", "1"),
                *("-c", str(CLIENTS), "-T", str(seconds), "-f", str(script)),
                *("--log", "--log-prefix", f"{folder}/log", postgres.url(served.home)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"pgbench: {done.stderr}")
        taken = sorted(
            int(line.split()[2]) / 1000
            for path in Path(folder).glob("log*")
            for line in path.read_text("utf-8").splitlines()
        )
    rate = re.search(r"tps = ([0-9.]+)", done.stdout)
    failed = re.search(r"failed transactions: ([0-9]+)", done.stdout)
    return Measured(
        float(rate[1]) if rate else 0.0,
        statistics.median(taken),
        taken[int(len(taken) * 0.99)],
        int(failed[1]) if failed else 0,
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_single")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--burst-seconds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    console = terminal()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    with Served(options.workers) as served:
        with psycopg.connect(postgres.url(served.home), autocommit=True) as connection:
            connection.execute(TABLE)
        by_http(served, "warm", CLIENTS, 2)
        https, inserts = [], []
        for number in range(options.rounds):
            https.append(by_http(served, f"r{number}", CLIENTS, options.seconds))
            inserts.append(by_pgbench(served, options.seconds))
        calm = by_http(served, "calm", CLIENTS, options.seconds)
        burst = by_http(served, "burst", CLIENTS * BURST, options.burst_seconds)
        time.sleep(1)
        left = served.waiting()
        with served.platform.control.transaction() as cursor:
            cursor.execute(
                "SELECT count(*), (SELECT count(*) FROM intake.outbox) FROM intake.orders"
            )
            stored = cursor.fetchone()
    table = Table("work", "per s", "p50 ms", "p99 ms", "errors", title="32 clients, medians")
    rows = [("orders over HTTP", https), ("pgbench inserts", inserts), ("calm", [calm])]
    for name, measured in [*rows, (f"burst, {CLIENTS * BURST} clients", [burst])]:
        table.add_row(
            name,
            f"{statistics.median(m.per_second for m in measured):,.0f}",
            f"{statistics.median(m.p50_ms for m in measured):,.2f}",
            f"{statistics.median(m.p99_ms for m in measured):,.2f}",
            str(sum(m.errors for m in measured)),
        )
    console.print(table)
    rate = median_ratio([m.per_second for m in https], [m.per_second for m in inserts])
    slowest = median_ratio([m.p99_ms for m in https], [m.p99_ms for m in inserts])
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    console.print(f"orders / inserts per second: {rate:.2f}; p99: {slowest:.2f} ×; load {load}")
    console.print(f"after the burst {left} orders wait; stored, and in the outbox: {stored}")


if __name__ == "__main__":
    main()
