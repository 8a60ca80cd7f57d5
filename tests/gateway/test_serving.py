"""The gateway on a real port: TLS, limits of the wire, and what it refuses to start on."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from acme.gateway import key_management
from acme.lakehouse import postgres
from acme.lakehouse.home import Home
from tests.gateway.conftest import ORDER

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate of 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def environment(home: Home, **more: str) -> dict[str, str]:
    return {**os.environ, "ACME_HOME": str(home.root), "PYTHONPATH": str(ROOT), **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "acme.gateway.serve", *arguments]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(home: Home, *arguments: str, **more: str) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        command("--port", str(port), *arguments), env=environment(home, **more), cwd=ROOT
    )
    try:
        begun = time.monotonic()
        while True:
            assert process.poll() is None
            assert time.monotonic() - begun < START_SECONDS
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def refused(home: Home, *arguments: str, **more: str) -> str:
    """Return why a gateway does not start."""
    ended = subprocess.run(
        command("--port", str(free_port()), *arguments),
        env=environment(home, **more),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_tls_is_verified_and_at_least_1_2(own: Home, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with served(own, "--tls-certificate", str(cert), "--tls-key", str(key)) as port:
        url = f"https://127.0.0.1:{port}/readyz"
        trusting = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(verify=trusting, timeout=START_SECONDS) as client:
            assert client.get(url).status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(url, timeout=10)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10)
        for version, works in (
            (ssl.TLSVersion.TLSv1_1, False),
            (ssl.TLSVersion.TLSv1_2, True),
            (ssl.TLSVersion.TLSv1_3, True),
        ):
            context = ssl.create_default_context(cafile=str(cert))
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
            try:
                with (
                    socket.create_connection(("127.0.0.1", port), 10) as plain,
                    context.wrap_socket(plain, server_hostname="127.0.0.1"),
                ):
                    spoken = True
            except (ssl.SSLError, ConnectionError):
                spoken = False
            assert spoken == works, version


def test_the_limits_of_the_wire(own: Home) -> None:
    with psycopg.connect(postgres.url(own)) as connection, connection.cursor() as cursor:
        key_management.add_source(cursor, "EMP", all_pots=True)
        key = key_management.create(cursor, "EMP", ("submit", "read"))
    with served(own) as port, httpx.Client(timeout=START_SECONDS) as client:
        url = f"http://127.0.0.1:{port}/v1/orders"
        headers = {"authorization": f"Bearer {key}", "idempotency-key": "wire"}
        client.get(f"http://127.0.0.1:{port}/readyz")
        for _ in range(100):
            if (made := client.post(url, json=ORDER, headers=headers)).status_code != 401:
                break
            time.sleep(0.1)
        assert made.status_code == 201
        long = client.get(url, headers={"x-long": "x" * 100_000})
        assert long.status_code == 431
        # A head that never ends, and a body that never comes.
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), 60) as head:
            head.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\n")
            body = socket.create_connection(("127.0.0.1", port), 60)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            begin = f"POST /v1/orders HTTP/1.1\r\nhost: x\r\n{lines}content-length: 9\r\n\r\n"
            body.sendall(begin.encode() + b"{")
            with body:
                answer = body.recv(4096)
                assert answer.startswith(b"HTTP/1.1 408")
                while body.recv(4096):
                    pass
            assert head.recv(4096)[:12] in {b"", b"HTTP/1.1 408"}
        assert time.monotonic() - begun < 40
        assert client.get(f"http://127.0.0.1:{port}/readyz").status_code == 200


BROKEN_OFF = {
    "a chunk without a length": (
        b"transfer-encoding: chunked\r\n\r\n",
        b"%x\r\n%s\r\nZZZ\r\n",
    ),
    "less than was declared": (b"content-length: 5000\r\n\r\n", b"%.0x%s"),
    "no last chunk": (b"transfer-encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n"),
}


def test_a_body_that_is_broken_off_is_told_so(own: Home) -> None:
    with psycopg.connect(postgres.url(own)) as connection, connection.cursor() as cursor:
        key_management.add_source(cursor, "BROKEN", all_pots=True)
        key = key_management.create(cursor, "BROKEN", ("submit",))
    line = json.dumps(ORDER).encode() + b"\n"
    with served(own) as port:
        for path, media in (("", "application/json"), ("/bulk", "application/x-ndjson")):
            for how, (framing, body) in BROKEN_OFF.items():
                head = (
                    f"POST /v1/orders{path} HTTP/1.1\r\nhost: x\r\nidempotency-key: k\r\n"
                    f"authorization: Bearer {key}\r\ncontent-type: {media}\r\n"
                ).encode()
                told = conversation(port, head + framing + body % (len(line), line))
                assert told.startswith(b"HTTP/1.1 400 "), (path, how, told)
                problem = json.loads(told.partition(b"\r\n\r\n")[2])
                assert problem["type"] == "/problems/malformed"
                assert problem["detail"] == "the request ended before its body did"
                assert problem["instance"].startswith("urn:acme:request:")


def conversation(port: int, said: bytes) -> bytes:
    """Return what is answered to bytes after which the client says no more."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        told = b""
        while part := client.recv(4096):
            told += part
        return told


def test_tls_by_halves_and_a_taken_port_are_refused(
    own: Home, certificate: tuple[Path, Path]
) -> None:
    cert, _ = certificate
    assert "expected a certificate and its key" in refused(own, "--tls-certificate", str(cert))
    assert "is no file" in refused(
        own, ACME_GATEWAY_TLS_CERTIFICATE="/none", ACME_GATEWAY_TLS_KEY="/none"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "cannot be served" in refused(own, "--port", port)
    assert "ACME_GATEWAY_RATE" in refused(own, ACME_GATEWAY_RATE="fast")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_orders_is_refused(own: Home, setting: str) -> None:
    with psycopg.connect(postgres.url(own), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
        try:
            time.sleep(0.5)
            assert f"Postgres runs with {setting} = off: expected on" in refused(own)
        finally:
            connection.execute(f"ALTER SYSTEM RESET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")


def test_a_superuser_is_refused_unless_configured(own: Home) -> None:
    url = postgres.url(own)
    told = refused(own, ACME_POSTGRES_URL=url, ACME_GATEWAY_POSTGRES_URL=url)
    assert "a superuser" in told
    allowed = {"ACME_GATEWAY_SUPERUSER": "allowed", "ACME_GATEWAY_POSTGRES_URL": url}
    with served(own, ACME_POSTGRES_URL=url, **allowed) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=START_SECONDS)
        assert answer.status_code == 200
