"""Makes the folder of a new process: all of it or nothing, and what is derived from folders.

The same request again changes nothing. What is there with another content is never written over.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acme.lakehouse import contract_docs, contracts
from acme.lakehouse.contract_changes import shape_of
from acme.lakehouse.contracts import ContractError
from acme.lakehouse.files import fsync_folder, make_folder, write_atomic
from orchestration import (
    catalogue,
    code_owners,
    contract_check,
    process_folder,
    process_request,
    process_texts,
    workspace,
)
from orchestration.process_request import Request, RequestError
from orchestration.registry import ROOT, DeclarationError


@dataclass(frozen=True)
class Made:
    """What there is now, relative to the repository: `written` is empty if it was there already.

    `left`: what could not be derived anew, each with what of another team's is to be mended first.
    """

    written: tuple[str, ...]
    derived: tuple[str, ...]
    left: tuple[str, ...] = ()


def make(asked: Request, root: Path = ROOT) -> Made:
    """Write a process's folder and contract, then the files that are derived from all folders.

    Raises RequestError where the request cannot be or something else is there already; then
    nothing is written.
    """
    process_request.require(asked)
    folder = root / "assets" / asked.folder
    inside = {folder / p: t for p, t in process_texts.process_files(asked).items()}
    outside = {
        root / "data_contracts" / p: t for p, t in process_texts.contract_files(asked).items()
    }
    team = root / "assets" / asked.team / "__init__.py"
    if not team.exists():
        outside[team] = ""
    _require_free(root, folder, inside, outside)
    with _undone_on_error() as undo:
        new = [path for path in outside if not path.exists()]
        for path in new:
            undo.make_folder(path.parent)
            undo.will_write(path)
            write_atomic(path, outside[path].encode())
        if not folder.exists():
            new += list(inside)
            _put(folder, inside, undo)
        importlib.invalidate_caches()
        try:
            process_folder.require(folder / "defs.yaml")
        except DeclarationError as error:
            raise RequestError(str(error)) from error
        derived, left = _derive(asked, root, undo)
    relative = sorted(path.relative_to(root).as_posix() for path in new)
    written = tuple(p.relative_to(root).as_posix() for p in derived)
    return Made(tuple(relative), written, tuple(left))


def _require_free(
    root: Path, folder: Path, inside: dict[Path, str], outside: dict[Path, str]
) -> None:
    wrong = [
        f"{path.relative_to(root)}: expected no such file, got another one that is there already"
        for path, text in outside.items()
        if path.exists() and path.read_bytes() != text.encode()
    ]
    if folder.exists():
        found = {p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
        if found != set(inside) or any(p.read_bytes() != inside[p].encode() for p in found):
            wrong.insert(0, f"{folder.relative_to(root)}: expected no such folder, got one")
    if wrong:
        raise RequestError("\n".join(wrong))


def _put(folder: Path, inside: dict[Path, str], undo: _Undo) -> None:
    """Write a folder beside the teams, where nothing looks, and rename it into its place."""
    staging = folder.parents[1] / f".new-{folder.parent.name}-{folder.name}"
    shutil.rmtree(staging, ignore_errors=True)
    undo.will_write(staging)
    for path, text in inside.items():
        target = staging / path.relative_to(folder)
        make_folder(target.parent)
        write_atomic(target, text.encode())
    undo.will_write(folder)
    staging.rename(folder)
    fsync_folder(folder.parent)


def _derive(asked: Request, root: Path, undo: _Undo) -> tuple[list[Path], list[str]]:
    """Write what is derived from folders and contracts; returns what changed, and what was left.

    A file that another team's folder or contract keeps from being derived stays as it is.
    """
    reference = root / "docs" / "reference"
    renders: dict[Path, Callable[[], str]] = {
        root / "data_contracts" / "baseline.json": lambda: _baseline(asked, root),
        root / "CODEOWNERS": code_owners.render,
        root / "workspace.yaml": workspace.render,
        reference / "catalogue.md": catalogue.render,
        reference / "datasets.md": contract_docs.render,
    }
    changed, left = [], []
    for path, render in renders.items():
        try:
            text = render()
        except (ContractError, DeclarationError) as error:
            left.append(f"{path.relative_to(root)}: {error}")
            continue
        if not path.exists() or path.read_text("utf-8") != text:
            undo.will_write(path)
            write_atomic(path, text.encode())
            changed.append(path)
    return changed, left


def _baseline(asked: Request, root: Path) -> str:
    """Return the contracts on file and the new ones: whoever changed another records it."""
    known = contract_check.recorded(root / "data_contracts" / contract_check.NAME)
    names = [asked.dataset, *(f"feed.{feed}" for feed in asked.feeds)]
    new = {name: shape_of(contracts.of(name)) for name in names}
    return contract_check.render({**new, **known})


class _Undo:
    """What to take back: files and folders that were not there, and texts that were."""

    def __init__(self) -> None:
        self._made: list[Path] = []
        self._before: dict[Path, bytes] = {}

    def will_write(self, path: Path) -> None:
        """Remember how a path is before it is written."""
        if path.is_file():
            self._before[path] = path.read_bytes()
        else:
            self._made.append(path)

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it, and remember which were not there."""
        for above in reversed([path, *path.parents]):
            if not above.exists():
                self._made.append(above)
                above.mkdir()

    def all(self) -> None:
        """Take everything back."""
        for path, content in self._before.items():
            write_atomic(path, content)
        for path in reversed(self._made):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def _undone_on_error() -> Iterator[_Undo]:
    """Leave the repository as it was where anything fails, a stop from the terminal included."""
    undo = _Undo()
    try:
        yield undo
    except BaseException:
        undo.all()
        raise
