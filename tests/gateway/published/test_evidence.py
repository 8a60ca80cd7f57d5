"""GET /v1/evidence and `acme evidence`: a pack of the same bytes, whole, for compliance."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from acme.cli.verbs import acme
from acme.domain.proofs import SealHeader
from acme.evidence import pack
from acme.evidence.keys import verify_signature
from tests.gateway.published.conftest import Keys, Served
from tests.scenarios.driver import D3, D4, Scenario

pytestmark = pytest.mark.xdist_group("published")


def packed(world: Scenario) -> bytes:
    buffer = io.BytesIO()
    pack.write(pack.collect(world.platform, D3), buffer)
    return buffer.getvalue()


def test_it_is_equal_when_made_twice(world: Scenario) -> None:
    assert packed(world) == packed(world)


def test_every_member_has_its_hash(world: Scenario) -> None:
    with zipfile.ZipFile(io.BytesIO(packed(world))) as found:
        names = found.namelist()
        manifest = json.loads(found.read("manifest.json"))
        hashes = {n: hashlib.sha256(found.read(n)).hexdigest() for n in names}
        times = {info.date_time for info in found.infolist()}
    assert names == sorted(names)
    assert hashes.keys() - {"manifest.json"} == manifest["members"].keys()
    assert {n: m["sha256"] for n, m in manifest["members"].items()} == {
        n: h for n, h in hashes.items() if n != "manifest.json"
    }
    assert times == {(1980, 1, 1, 0, 0, 0)}
    assert manifest["run_date"] == str(D3)
    assert set(names) == {*pack.WHAT, "index.html", "manifest.json"}


def test_it_says_what_was_published(world: Scenario) -> None:
    publication = world.platform.control.publication(D3)
    assert publication is not None
    with zipfile.ZipFile(io.BytesIO(packed(world))) as found:
        stated = json.loads(found.read("publication.json"))
        seals = json.loads(found.read("seals.json"))
        dispatches = found.read("dispatches.csv").decode().splitlines()
        checks = found.read("checks.csv").decode().splitlines()
        landed = found.read("landed_files.csv").decode()
        index = found.read("index.html").decode()
        every = b"".join(found.read(n) for n in found.namelist())
    assert stated["seals"] == publication.seals
    assert {n: d["content_sha256"] for n, d in stated["datasets"].items()} == {
        n: d.content_sha256 for n, d in publication.manifest.items()
    }
    for batch in seals["batches"]:
        header = batch["header"].encode()
        assert hashlib.sha256(header).hexdigest() == batch["seal"]
        assert verify_signature(seals["public_key"], batch["signature"], header)
        assert SealHeader(**json.loads(header)).previous_seal == batch["previous_seal"]
    assert [line.split(",")[2] for line in dispatches[1:]] == [
        d.sha256 for d in world.platform.control.dispatches(D3)
    ]
    assert len(checks) == 1 + world.frame("check_results", D3).height
    for file in world.frame("landed_files", D3)["file_sha256"]:
        assert file in landed
    assert f"Evidence of {D3}" in index
    assert b"M-B" not in every, "a member's reference is nobody's business here"


def test_there_is_none_of_a_date_that_is_not_published(world: Scenario) -> None:
    with pytest.raises(pack.NotPublishedError, match="not published"):
        pack.collect(world.platform, D4)


def test_the_command_writes_the_same_file(
    world: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_HOME", str(world.home.root))
    monkeypatch.setenv("ACME_POSTGRES_URL", world.platform.url)
    target = tmp_path / "evidence.zip"
    done = CliRunner().invoke(acme, ["evidence", str(D3), "--out", str(target)])
    assert done.exit_code == 0, done.output
    assert target.read_bytes() == packed(world)
    assert hashlib.sha256(target.read_bytes()).hexdigest() in done.output


@pytest.mark.anyio
async def test_compliance_alone_downloads_it(served: Served, keys: Keys) -> None:
    async with served.client(keys.compliance) as client:
        answer = await client.get(f"/v1/evidence/{D3}.zip")
        again = await client.get(
            f"/v1/evidence/{D3}.zip", headers={"if-none-match": answer.headers["etag"]}
        )
    assert answer.status_code == 200
    assert answer.content == packed(served.world)
    assert answer.headers["content-type"] == "application/zip"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert (again.status_code, again.content) == (304, b"")
    for key in (keys.owner, keys.everything, keys.submit_only):
        async with served.client(key) as client:
            assert (await client.get(f"/v1/evidence/{D3}.zip")).status_code == 403
    async with served.client() as client:
        assert (await client.get(f"/v1/evidence/{D3}.zip")).status_code == 401
