"""Durable file writes and file hashes; nothing here knows what a file means."""

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from acme.lakehouse.failpoints import reach


class DiskFullError(OSError):
    """There is no room for a file; it does not exist, not even in part."""

    def __str__(self) -> str:
        """Name the file, and say what to do."""
        return (
            f"{self.filename}: {self.strerror}: make room on that disk and run the same command"
            " again; what was complete is kept"
        )


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the disk name `path`, where the system says only what went wrong."""
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(error.errno, error.strerror, str(path)) from None
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def unnamed() -> Iterator[None]:
    """Let an error of the disk name no file: a temporary one is nobody's, `naming` knows better."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing."""
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)


def sha256_file(path: Path) -> str:
    """SHA-256 of the file's bytes as 64 lower-case hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make a rename or a removal in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(
    path: Path,
    content: bytes,
    *,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
) -> None:
    """Write `content` to `path` so that a reader, or a crash, sees all of it or nothing.

    The bytes go to a new name in the same folder, are flushed to disk, and are renamed onto
    `path`; then the folder is flushed. `mode` are the permission bits (default: what the umask
    leaves of 0666), `owner` is (uid, gid). A failure leaves `path` as it was and no other file;
    its error names `path`.
    """
    with naming(path):
        _write(path.parent, (content,), lambda: path.name, mode=mode, owner=owner)


def write_atomic_chunks(folder: Path, chunks: Iterable[bytes], name: Callable[[], str]) -> Path:
    """Write `chunks` as `write_atomic` does, never all in memory; the path of the file.

    `name` is asked for once everything is written, so that it may tell of the content.
    """
    with naming(folder):
        return _write(folder, chunks, name)


def replace_atomic(temporary: Path, path: Path) -> None:
    """Let a finished file of the same folder take the name `path`, as `write_atomic` does."""
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    reach("file.rename:before")
    temporary.replace(path)
    reach("file.rename:after")
    fsync_folder(path.parent)


def _write(
    folder: Path,
    chunks: Iterable[bytes],
    name: Callable[[], str],
    *,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
) -> Path:
    reach("file.write:before")
    temporary = folder / f".{secrets.token_hex(12)}.tmp"
    # O_EXCL: a name somebody else planted (a link, say) is never written through.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with unnamed():
        descriptor = os.open(temporary, flags, 0o666 if mode is None else mode & 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.writelines(chunks)
            stream.flush()
            if owner is not None:
                os.fchown(stream.fileno(), *owner)
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        reach("file.rename:before")
        path = folder / name()
        with unnamed():
            temporary.replace(path)
        reach("file.rename:after")
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    fsync_folder(folder)
    return path
