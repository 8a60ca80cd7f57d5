"""Schemathesis against the gateway's own OpenAPI document: no 5xx, no breach of the contract.

`python -m tests.gateway.contract_fuzz --cases 10000`: a gateway of its own on a free port; the tool
in an environment of its own (`.schemathesis/`, from `schemathesis.lock`), since its pins are not
ours. Cases are spread over the operations, at least so many in all. Exit 1 on any finding.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

from tests.gateway.kill import World

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".schemathesis"
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


def main(arguments: list[str] | None = None) -> int:
    """Serve, send, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.gateway.contract_fuzz")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="fuzzing")
    options = parser.parse_args(arguments)
    command = tool()
    folder = Path(tempfile.mkdtemp(prefix="acme-fuzz-"))
    folder.chmod(0o755)
    world = World(folder, scopes=("submit", "read", "compliance"))
    try:
        world.start()
        each = -(-options.cases // operations(world.port))
        done = subprocess.run(
            [
                *(command, "run", f"http://127.0.0.1:{world.port}/openapi.json"),
                *("-H", f"Authorization: Bearer {world.key}"),
                *("--phases", options.phases, "--max-examples", str(each)),
                *("--seed", str(options.seed), "--checks", ",".join(CHECKS)),
                *("--generation-database", "none", "--no-color", "--continue-on-failure"),
            ],
            check=False,
            cwd=folder,
        )
    finally:
        world.remove()
        shutil.rmtree(folder, ignore_errors=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
