"""Schemathesis against the gateway's own OpenAPI document: no 5xx, no breach of the contract.

`python -m tests.gateway.contract_fuzz --cases 10000`: a gateway of its own on a free port; the tool
in an environment of its own (`.schemathesis/`, from `schemathesis.lock`), since its pins are not
ours. Half of the ids and dates it sends are of an order, pots and a published date that exist.
Further seeds of the last phase follow until there were so many cases. Exit 1 on any finding.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

from tests.gateway.kill import World, body
from tests.gateway.wire import Connection

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".schemathesis"
HOOKS = "tests.gateway.contract_hooks"
# Cases an operation gets of one seed; an operation without a body has fewer different ones.
EACH_MAX = 800
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


def tool() -> Path:
    """Return the `st` command, installed on first use."""
    command = PLACE / "bin" / "st"
    if not command.exists():
        venv.create(PLACE, with_pip=True)
        lock = Path(__file__).with_name("schemathesis.lock")
        subprocess.run(
            [PLACE / "bin" / "pip", "install", "--quiet", "--require-hashes", "-r", lock],
            check=True,
        )
    return command


def operations(port: int) -> int:
    """Return how many operations the document has."""
    address = f"http://127.0.0.1:{port}/openapi.json"
    with urllib.request.urlopen(address, timeout=10) as answer:
        paths = json.load(answer)["paths"]
    methods = {"get", "post", "delete", "put", "patch"}
    return sum(len(methods & set(item)) for item in paths.values())


async def _order(world: World) -> tuple[str, str]:
    """Send an order; its id and dealing date."""
    headers = {
        "authorization": f"Bearer {world.key}",
        "content-type": "application/json",
        "idempotency-key": "first",
    }
    status, content = await Connection(world.port).post("/v1/orders", headers, body("K-1"))
    if status != 201:
        raise RuntimeError(f"the first order was answered {status}: {content!r}")
    told = json.loads(content)
    return told["order_id"], told["dealing_date"]


def known_things(world: World, folder: Path) -> None:
    """Publish a date with an order; half of all ids and dates generated are of what exists."""
    order_id, dealing_date = asyncio.run(_order(world))
    world.deal(dealing_date)
    lines = []
    for name, values in (
        ("date", [dealing_date]),
        ("order_id", [order_id]),
        ("pot_id", ["P-0", "P-1"]),
    ):
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
        lines += [f'[parameters."path.{name}"]', f'dictionary = "{name}"', "probability = 0.5"]
    lines += ['[parameters."body.pot_id"]', 'dictionary = "pot_id"', "probability = 0.5"]
    (folder / "schemathesis.toml").write_text("\n".join([*lines, ""]), "utf-8")


def send(world: World, folder: Path, phases: str, each: int, seed: int) -> tuple[int, int]:
    """Let the tool send so many cases to each operation; its exit code and how many it sent."""
    run = subprocess.Popen(
        [
            *(tool(), "run", f"http://127.0.0.1:{world.port}/openapi.json"),
            *("-H", f"Authorization: Bearer {world.key}"),
            *("--phases", phases, "--max-examples", str(each)),
            *("--seed", str(seed), "--checks", ",".join(CHECKS)),
            *("--generation-database", "none", "--no-color", "--continue-on-failure"),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": HOOKS},
        stdout=subprocess.PIPE,
        text=True,
    )
    sent = 0
    for line in run.stdout or ():
        sys.stdout.write(line)
        counted = re.search(r"([\d,]+) generated", line)
        sent = int(counted[1].replace(",", "")) if counted else sent
    return run.wait(), sent


def main(arguments: list[str] | None = None) -> int:
    """Serve, send until there were enough, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.gateway.contract_fuzz")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="examples,coverage,fuzzing")
    options = parser.parse_args(arguments)
    tool()
    folder = Path(tempfile.mkdtemp(prefix="acme-fuzz-"))
    folder.chmod(0o755)
    world = World(folder, scopes=("submit", "read", "compliance"))
    sent, seed, phases, code = 0, options.seed, options.phases, 0
    try:
        world.start()
        known_things(world, folder)
        of_document = operations(world.port)
        while sent < options.cases and code == 0:
            each = min(EACH_MAX, -(-(options.cases - sent) // of_document))
            code, more = send(world, folder, phases, each, seed)
            if not more:
                raise SystemExit("Schemathesis sent nothing")
            # The other phases send the same cases whatever the seed.
            sent, seed, phases = sent + more, seed + 1, phases.split(",")[-1]
        sys.stdout.write(f"{sent:,} cases in all; {'clean' if code == 0 else 'findings above'}\n")
    finally:
        world.remove()
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
