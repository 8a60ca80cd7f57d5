"""`acme submit` against a gateway that is played: what is sent, when again, how it exits."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme.cli.errors import CommandError
from acme.cli.verbs import acme

ACCEPTED = {"lines": 2, "created": 2, "earliest": {"dealing_date": "2026-01-05"}}
REFUSED = {
    "title": "A field breaks the contract of orders",
    "detail": "nothing is stored: 250 errors; the first 1 are shown",
    "errors": [{"line": 7, "field": "amount", "expected": "a plain decimal", "got": "1e5"}],
    "errors_in_all": 250,
}


@dataclass
class Played:
    """Answers in turn, the last one for ever; keeps what was sent."""

    url: str = ""
    answers: list[tuple[int, dict, dict]] = field(default_factory=list)
    got: list[tuple[str, dict, bytes]] = field(default_factory=list)


@pytest.fixture
def played() -> Iterator[Played]:
    told = Played()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, document = told.answers[min(len(told.got), len(told.answers)) - 1]
            self.send_response(status)
            content = json.dumps(document).encode()
            for name, value in ({"content-length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_bytes(b"source,source_ref\nEMP,r1\n")
    return path


Submit = Callable[..., Result]


@pytest.fixture
def submit(played: Played, orders: Path, monkeypatch: pytest.MonkeyPatch) -> Submit:
    monkeypatch.setenv("ACME_API_KEY", "acme_secret")
    monkeypatch.setattr("acme.cli.submit.time.sleep", lambda _: None)

    def run(*options: str, file: Path = orders) -> Result:
        return CliRunner().invoke(acme, ["submit", str(file), "--url", played.url, *options])

    return run


def test_the_file_goes_as_it_is(submit: Submit, played: Played, orders: Path) -> None:
    played.answers = [(201, {}, ACCEPTED)]
    result = submit()
    assert result.exit_code == 0, result.output
    ((path, headers, body),) = played.got
    assert path == "/v1/orders/bulk"
    assert body == orders.read_bytes()
    assert headers["authorization"] == "Bearer acme_secret"
    assert headers["content-type"] == "text/csv"
    assert headers["idempotency-key"] == f"file-{hashlib.sha256(body).hexdigest()}"
    assert "2026-01-05" in result.output
    assert "acme_secret" not in result.output


def test_ndjson_and_a_key_of_ones_own(submit: Submit, played: Played, tmp_path: Path) -> None:
    played.answers = [(201, {"idempotent-replayed": "true"}, ACCEPTED)]
    file = tmp_path / "orders.jsonl"
    file.write_text("{}\n")
    result = submit("--idempotency-key", "mine", file=file)
    assert "Sent before" in result.output
    assert played.got[0][1]["content-type"] == "application/x-ndjson"
    assert played.got[0][1]["idempotency-key"] == "mine"


def test_busy_is_asked_again_with_the_same_key(submit: Submit, played: Played) -> None:
    busy = (503, {"retry-after": "1"}, {"detail": "busy"})
    played.answers = [busy, busy, (201, {}, ACCEPTED)]
    result = submit("--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == ACCEPTED
    assert len({(headers["idempotency-key"], body) for _, headers, body in played.got}) == 1
    assert len(played.got) == 3


def test_no_answer_within_the_wait(submit: Submit, played: Played, orders: Path) -> None:
    played.answers = [(503, {"retry-after": "5"}, {"detail": "the disk is full"})]
    result = submit("--wait", "1")
    assert isinstance(result.exception, CommandError)
    assert "the disk is full" in str(result.exception)
    assert f"sending {orders} again is safe" in str(result.exception)
    assert len(played.got) == 1


def test_nobody_there(submit: Submit) -> None:
    result = submit("--url", "http://127.0.0.1:9", "--wait", "0")
    assert isinstance(result.exception, CommandError)
    assert "cannot be reached" in str(result.exception)


def test_refused(submit: Submit, played: Played, orders: Path) -> None:
    played.answers = [(422, {}, REFUSED)]
    result = submit()
    assert result.exit_code == 1
    assert f"{orders}: refused, 422" in result.stderr
    assert f"Errors of {orders.name} (250)" in result.stdout
    for text in ("breaks the contract", "7", "amount", "a plain decimal", "1e5"):
        assert text in result.output
    assert json.loads(submit("--json").stdout) == REFUSED
    assert len(played.got) == 2


def test_used_wrongly(submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "orders.txt"
    other.write_text("")
    assert submit(file=other).exit_code == 2
    assert submit(file=tmp_path / "none.csv").exit_code == 2
    monkeypatch.delenv("ACME_API_KEY")
    assert submit().exit_code == 2
    assert submit("--key", " ").exit_code == 2


BAD_KEYS = ["acme_sec\nret", "acme_sec\r\nret", "acme_sec ret", "acme_secrét", "acme_sec\x7fret"]


@pytest.mark.parametrize("key", BAD_KEYS)
@pytest.mark.parametrize("given", ["option", "variable"])
def test_a_key_that_no_header_carries_is_refused_unseen(
    submit: Submit, played: Played, monkeypatch: pytest.MonkeyPatch, key: str, given: str
) -> None:
    if given == "variable":
        monkeypatch.setenv("ACME_API_KEY", key)
    result = submit(*(("--key", key) if given == "option" else ()))
    assert result.exit_code == 2
    assert "--key or ACME_API_KEY: expected printable ASCII" in result.output
    assert "acme_sec" not in result.output
    assert played.got == []


def test_what_copying_adds_to_a_key_is_taken_off(submit: Submit, played: Played) -> None:
    played.answers = [(201, {}, ACCEPTED)]
    assert submit("--key", " acme_other\r\n", "--idempotency-key", " my name\n").exit_code == 0
    ((_, headers, _),) = played.got
    assert headers["authorization"] == "Bearer acme_other"
    assert headers["idempotency-key"] == "my name"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "é", "x" * 201])
def test_an_idempotency_key_that_no_header_carries(
    submit: Submit, played: Played, name: str
) -> None:
    result = submit("--idempotency-key", name)
    assert result.exit_code == 2
    expected = "--idempotency-key: expected 1 to 200 characters of printable ASCII, got"
    assert f"{expected} {name!r}" in result.output
    assert played.got == []


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://gateway",
        "http://",
        "http://:8000",
        "http://gateway:99999",
        "http://gateway:0",
        "http://gateway:port",
        "http://gate way",
        " http://gateway",
        "http://gate\nway",
        "http://gate..way",
        "http://[::1",
        "http://gateway/?page=1",
    ],
)
def test_a_url_that_is_none_is_named_alone(submit: Submit, url: str) -> None:
    result = submit("--url", url)
    assert result.exit_code == 2
    expected = "--url: expected http://HOST[:PORT] or https://HOST[:PORT]"
    assert f"{expected}, got {url!r}" in result.output
    assert "key" not in result.output


def test_a_password_in_the_url_is_refused_unseen(submit: Submit) -> None:
    result = submit("--url", "http://me:hidden@gateway")
    assert result.exit_code == 2
    assert "--url: expected" in result.output
    assert "hidden" not in result.output


@pytest.mark.parametrize(
    ("content", "form", "expected"),
    [
        ("source,source_ref\nEMP,r1\n", "ndjson", "a JSON object"),
        ('{"source_ref": "r1"}\n', "csv", "the names of the columns"),
    ],
)
def test_a_file_of_the_other_form_is_not_sent(
    submit: Submit, played: Played, tmp_path: Path, content: str, form: str, expected: str
) -> None:
    played.answers = [(201, {"idempotent-replayed": "true"}, ACCEPTED)]
    file = tmp_path / "orders.txt"
    file.write_text(content)
    result = submit("--format", form, file=file)
    assert result.exit_code == 2
    begin = content.splitlines()[0]
    said = f"{file}: line 1: expected {expected}, since --format is {form}, got {begin!r}"
    assert said in result.output
    assert played.got == []
    played.answers = [(201, {}, ACCEPTED)]
    other = "csv" if form == "ndjson" else "ndjson"
    assert submit("--format", other, file=file).exit_code == 0
