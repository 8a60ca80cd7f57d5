"""Kills the gateway and Postgres while 32 clients send, and counts every answered order.

`python -m tests.gateway.kill --rounds 200`: in each round the clients send at full speed; after a
random number of answers the gateway, the server or both are killed with SIGKILL and started again.
A round makes some six hundred orders at most, so that the day they make can be run. What was
answered is in the inbox exactly once, with the values it was sent with and the answer it got; what
was not is sent again under its key until it is answered. At the end the dealing date is run: inbox,
lake and batch hold the same orders. It stops by itself; exit 1 on any difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import Progress

from acme.gateway.api_keys import create_key
from acme.lakehouse import postgres
from acme.lakehouse.home import Home
from acme.lakehouse.platform import Platform, open_platform
from tests.gateway.wire import Connection, Senders, order_id

ROOT = Path(__file__).resolve().parents[2]
POTS = 50
CLIENTS = 32
CHECKED_AGAIN = 20
# Answers of a round before the kill, at most; as many more may be sent after it.
ANSWERS_MAX = 300
ROUND_SECONDS_MAX = 10.0
SATURDAY = 5


class World:
    """One installation with a gateway process, both of which die and come back."""

    def __init__(self, folder: Path, scopes: tuple[str, ...] = ("submit", "read")) -> None:
        """Make the scheme, and a key of these scopes; nothing is served yet."""
        self.home = Home(folder / "home")
        self.port = _free_port()
        self.gateway: subprocess.Popen[bytes] | None = None
        self._log = (folder / "gateway.log").open("ab")
        self.environment = os.environ | {"ACME_HOME": str(self.home.root), "PYTHONPATH": str(ROOT)}
        self.acme("init", "--currency", "USD", "--cutoff", "23:59:59")
        self._land_scheme(folder)
        self.platform = self._opened()
        with self.platform.control.transaction() as cursor:
            cursor.execute("INSERT INTO intake.sources VALUES ('EMPLOYER', true)")
            self.key = create_key(cursor, "EMPLOYER", scopes)
        cursor.connection.close()

    def acme(self, *arguments: str) -> str:
        """Run the command; its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "acme.cli.main", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in {0, 3}:
            raise RuntimeError(f"acme {' '.join(arguments)}: {done.stdout} {done.stderr}")
        return done.stdout

    def _opened(self) -> Platform:
        return open_platform(self.home)

    def _land_scheme(self, folder: Path) -> None:
        files = {
            "assets": "asset_id,name,currency,custodian_id,calendar_id,unit_decimals,"
            "settlement_days,stress,price_limit,valid_from\n"
            "EQ,Equity,USD,NORTH,DEALING,4,2,0.10,,2024-01-01\n"
            "USD,US dollar,USD,NORTH,DEALING,2,0,0,,2024-01-01\n",
            "risk_profiles": "risk_profile_id,asset_id,weight,valid_from\nSELF,CASH,1,2024-01-01\n",
            "risk_profile_parameters": "risk_profile_id,drift_band,cash_band,min_trade,schedule,"
            "valid_from\nSELF,0.05,0.05,10.00,none,2024-01-01\n",
            "pots": "pot_id,member_ref,risk_profile_id,book,opened_on\n"
            + "".join(f"P-{n},M-{n},SELF,live,2024-01-01\n" for n in range(POTS)),
            "opening_positions": "as_of,pot_id,asset_id,units\n"
            + "".join(f"2024-03-01,P-{n},USD,90000000.00\n" for n in range(POTS)),
        }
        for feed, content in files.items():
            path = folder / f"{feed}.csv"
            path.write_text(content, "utf-8")
            self.acme("land", feed, str(path))

    def deal(self, day: str) -> None:
        """Run a dealing date on the closing price of the weekday before it."""
        before = date.fromisoformat(day) - timedelta(days=1)
        while before.weekday() >= SATURDAY:
            before -= timedelta(days=1)
        path = self.home.root.parent / f"prices-{day}.csv"
        path.write_text(
            f"price_date,asset_id,currency,closing_price\n{before},EQ,USD,12.345678\n", "utf-8"
        )
        self.acme("land", "closing_prices", str(path))
        self.acme("day", day)

    # ---- dying and coming back -------------------------------------------------------------------

    def start(self) -> None:
        """Start what does not run: the server, then the gateway; return once it is ready."""
        postgres.start(self.home)
        if self.gateway is None or self.gateway.poll() is not None:
            self.gateway = subprocess.Popen(
                [sys.executable, "-m", "acme.gateway.serve", "--port", str(self.port)],
                env=self.environment,
                cwd=ROOT,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        begun = time.monotonic()
        while time.monotonic() - begun < 60:
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError("the gateway does not become ready")

    def kill(self, victims: str) -> None:
        """Kill with SIGKILL: `gateway`, `postgres` or `both`."""
        if victims in {"gateway", "both"} and self.gateway is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.gateway.pid, signal.SIGKILL)
            self.gateway.wait()
        if victims in {"postgres", "both"}:
            pid = postgres.status(self.home).pid
            if pid is not None:
                for victim in [*_children(pid), pid]:
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)

    def remove(self) -> None:
        """Stop everything and remove the server's data."""
        self.kill("gateway")
        folder = postgres.status(self.home).folder
        postgres.stop(self.home)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    # ---- what must hold --------------------------------------------------------------------------

    def stored(self) -> dict[str, tuple[Any, ...]]:
        """Return the inbox by source_ref; raises where one is there twice."""
        with psycopg.connect(postgres.url(self.home)) as connection:
            rows = connection.execute(
                "SELECT source_ref, order_id, pot_id, kind, asset_id, amount::text,"
                " coalesce(boxed.rows, 0) FROM intake.orders LEFT JOIN"
                " (SELECT order_id, count(*) AS rows FROM intake.outbox GROUP BY order_id) AS boxed"
                " USING (order_id)"
            ).fetchall()
        found = {row[0]: row[1:] for row in rows}
        if len(found) != len(rows):
            raise AssertionError("a reference is stored twice")
        return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8")
    return [int(child) for child in text.split()]


def body(reference: str) -> bytes:
    """Return the order of a reference; a reader of the inbox can tell what it must hold."""
    number = int(reference.partition("-")[2])
    return json.dumps(
        {
            "source_ref": reference,
            "pot_id": f"P-{number % POTS}",
            "kind": "buy",
            "asset_id": "EQ",
            "amount": f"{number % 97 + 1}.{number % 100:02}",
        }
    ).encode()


def problems_of(world: World, senders: Senders, *, whole: bool) -> list[str]:
    """Compare what was answered with the inbox; with `whole` nothing else may be in it."""
    # Taken before the inbox is read: what is answered meanwhile is looked at the next time.
    answered = dict(senders.sent.answered)
    stored, found = world.stored(), []
    for reference, content in answered.items():
        wanted = json.loads(body(reference))
        row = stored.get(reference)
        if row is None:
            found.append(f"lost: {reference} was answered and is not stored")
            continue
        order, pot, kind, asset, amount, outbox = row
        told = (order, pot, kind, asset, amount.rstrip("0").rstrip("."), outbox)
        sent = wanted["amount"].rstrip("0").rstrip(".")
        if told != (order_id(content), wanted["pot_id"], "buy", "EQ", sent, 1):
            found.append(f"altered: {reference} is {told}")
    if whole and stored.keys() - answered.keys():
        found.append("stored, and never answered, though everything was sent until it was")
    found += [f"refused: {refusal}" for refusal in senders.sent.refused]
    return found


async def asked_again(world: World, senders: Senders, chance: random.Random) -> list[str]:
    """Send some answered orders again: every answer has to be the one of the first time."""
    connection, found = Connection(world.port), []
    answered = senders.sent.answered
    for reference in chance.sample(sorted(answered), min(CHECKED_AGAIN, len(answered))):
        try:
            status, content = await connection.post(
                "/v1/orders", senders.headers(reference), body(reference)
            )
        except (OSError, EOFError):
            connection = Connection(world.port)
            continue
        if status == 201 and content != answered[reference]:
            found.append(f"{reference} was answered {answered[reference]!r}, then {content!r}")
    connection.close()
    return found


async def _answered(senders: Senders, more: int) -> None:
    """Let the clients send until so many more orders are answered, and go on sending."""
    wanted = len(senders.sent.answered) + more
    senders.allowed = max(senders.made, wanted) + ANSWERS_MAX
    with suppress(TimeoutError):
        async with asyncio.timeout(ROUND_SECONDS_MAX):
            await senders.until_answered(wanted)


async def play(
    world: World, rounds: int, seed: int, progress: Progress
) -> tuple[Senders, list[str], Counter[str]]:
    """Let the clients send while the victims of each round die and come back."""
    chance, killed = random.Random(seed), Counter[str]()
    loop = asyncio.get_running_loop()
    senders = Senders(lambda: world.port, world.key, body)
    sending = asyncio.create_task(senders.run(CLIENTS))
    task, found = progress.add_task("rounds", total=rounds), []
    for number in range(rounds):
        await _answered(senders, chance.randrange(ANSWERS_MAX))
        victims = chance.choice(["gateway", "postgres", "both"])
        killed[victims] += 1
        await loop.run_in_executor(None, world.kill, victims)
        await asyncio.sleep(chance.uniform(0.0, 0.2))
        await loop.run_in_executor(None, world.start)
        found += await asked_again(world, senders, chance)
        if number % 10 == 9:
            found += await loop.run_in_executor(
                None, lambda: problems_of(world, senders, whole=False)
            )
        progress.update(task, advance=1, description=f"{len(senders.sent.answered):,} answered")
        if found:
            break
    senders.stop = True
    await sending
    return senders, found, killed


def dealt(world: World, senders: Senders) -> list[str]:
    """Run the dealing dates; inbox, lake and batches have to hold the same orders."""
    dates = sorted({json.loads(c)["dealing_date"] for c in senders.sent.answered.values()})
    found = []
    for day in dates:
        world.deal(day)
        mine = {
            order_id(c)
            for c in senders.sent.answered.values()
            if json.loads(c)["dealing_date"] == day
        }
        frames = world.platform.lake.read(
            date.fromisoformat(day), ["core.orders", "stage.batched_orders", "core.dealing_batches"]
        )
        lake = frames["core.orders"]["order_id"].to_list()
        batch = frames["stage.batched_orders"]["order_id"].to_list()
        count = frames["core.dealing_batches"]["order_count"].sum()
        for name, ids in (("lake", lake), ("batch", batch)):
            if len(ids) != len(set(ids)) or set(ids) != mine:
                found.append(
                    f"{day}: {name} holds {len(ids)} orders, {len(mine)} were answered for it"
                )
        if count != len(mine):
            found.append(f"{day}: the seal counts {count} orders, {len(mine)} were answered")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Play, compare, tell; 1 on any difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.gateway.kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120)
    folder = Path(tempfile.mkdtemp(prefix="acme-kill-"))
    folder.chmod(0o755)
    begun = time.monotonic()
    world, found = World(folder), ["it did not come to its end"]
    try:
        world.start()
        with Progress(console=console) as progress:
            senders, found, killed = asyncio.run(
                play(world, options.rounds, options.seed, progress)
            )
        found += problems_of(world, senders, whole=True)
        found += dealt(world, senders)
        sent = senders.sent
        console.print(
            f"{sum(killed.values())} rounds ({dict(killed)}), {len(sent.answered):,} orders"
            f" answered, {sent.unsure:,} requests without an answer, {sent.retried:,} orders sent"
            f" again; {len(found)} differences, {(time.monotonic() - begun) / 60:.1f} minutes",
            highlight=False,
        )
        for problem in found[:20]:
            console.print(problem, markup=False, highlight=False)
    finally:
        world.remove()
        if not found:
            shutil.rmtree(folder, ignore_errors=True)
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
