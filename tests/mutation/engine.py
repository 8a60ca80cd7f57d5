"""Runs the tests of acme.domain against mutants, one after the other in one collected session.

pytest collects once and runs nothing; then for every mutant the code of the functions is swapped in
place (whoever imported them sees it), the tests that reach the changed function run until the first
failure, and the code is swapped back. Nothing is forked: Polars' threads do not survive a fork.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import signal
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.operators import Mutant

SECONDS_MIN = 10
KILLED, SURVIVED, TIMEOUT, UNREACHED = "killed", "survived", "timeout", "unreached"
Undo = list[Callable[[], None]]


class OutOfTimeError(BaseException):
    """A mutant runs for ever; no test may catch this."""


@dataclass
class Verdict:
    """What became of a mutant: by which test it was killed, or that it was not."""

    outcome: str
    by: str = ""


# ---- swapping code ------------------------------------------------------------------------------


@contextmanager
def swapped(module: types.ModuleType, source: str) -> Iterator[None]:
    """Make a loaded module behave as `source` does, for all who hold its functions and values."""
    fresh = types.ModuleType(module.__name__)
    fresh.__file__ = module.__file__
    sys.modules[module.__name__] = fresh
    try:
        exec(compile(source, module.__file__ or "", "exec"), fresh.__dict__)
    finally:
        sys.modules[module.__name__] = module
    undo: Undo = []
    try:
        _swap(module, fresh, undo)
        yield
    finally:
        for step in reversed(undo):
            step()


def _swap(module: types.ModuleType, fresh: types.ModuleType, undo: Undo) -> None:
    values: dict[int, tuple[object, object]] = {}
    for name, new in list(vars(fresh).items()):
        old = vars(module).get(name)
        if name.startswith("__") or old is new or isinstance(new, types.ModuleType):
            continue
        ours = getattr(new, "__module__", None) == module.__name__
        if isinstance(new, types.FunctionType) and isinstance(old, types.FunctionType):
            if ours:
                _recode(old, new, undo)
        elif isinstance(new, type) and isinstance(old, type):
            if ours:
                _reclass(old, new, undo)
        else:
            if not isinstance(old, (int, str, bytes, type(None))):
                values[id(old)] = (old, new)
            _put(vars(module), name, new, undo)
    if values:
        _hand_out(values, undo)


def _put(names: dict[str, object], name: str, new: object, undo: Undo) -> None:
    old = names.get(name)
    undo.append(lambda: names.__setitem__(name, old))
    names[name] = new


def _recode(old: types.FunctionType, new: types.FunctionType, undo: Undo) -> None:
    before = (old.__code__, old.__defaults__, old.__kwdefaults__)

    def back() -> None:
        old.__code__, old.__defaults__, old.__kwdefaults__ = before

    undo.append(back)
    old.__code__, old.__defaults__, old.__kwdefaults__ = (
        new.__code__,
        new.__defaults__,
        new.__kwdefaults__,
    )


def _reclass(old: type, new: type, undo: Undo) -> None:
    for name, value in list(vars(new).items()):
        one, other = _function_of(vars(old).get(name)), _function_of(value)
        if isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType):
            if one.__code__.co_freevars == other.__code__.co_freevars:
                _recode(one, other, undo)
        elif not name.startswith("__") and not callable(value) and not hasattr(value, "__get__"):
            before = vars(old).get(name)
            undo.append(lambda name=name, before=before: setattr(old, name, before))  # type: ignore[misc]
            setattr(old, name, value)


def _function_of(value: object) -> object:
    """Return the function behind a property, a class or static method, a cached property."""
    for inner in ("__func__", "fget", "func"):
        if not isinstance(value, types.FunctionType) and hasattr(value, inner):
            return getattr(value, inner)
    return value


def _hand_out(values: dict[int, tuple[object, object]], undo: Undo) -> None:
    """Give the new value to every module that holds the old one by name."""
    for module in list(sys.modules.values()):
        names = vars(module) if isinstance(module, types.ModuleType) else {}
        for name, value in list(names.items()):
            known = values.get(id(value))
            if known is not None and known[0] is value:
                _put(names, name, known[1], undo)


# ---- the session --------------------------------------------------------------------------------


class Session:
    """A pytest plugin: collects, measures what each test reaches, then tries mutants."""

    def __init__(self, modules: list[str], work: Callable[[Session], None]) -> None:
        """Keep the modules that are mutated, and what to do once the tests are collected."""
        self.modules = {name: importlib.import_module(name) for name in modules}
        self.work = work
        self.items: dict[str, pytest.Item] = {}
        self.reached: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}
        self.trusted: set[str] = set()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run our work instead of the tests."""
        self.items = {item.nodeid: item for item in session.items}
        signal.signal(signal.SIGALRM, _out_of_time)
        self.work(self)
        return True

    # ---- which test reaches what -----------------------------------------------------------------

    def measure(self, memory: Path) -> None:
        """Run every test once, or read what another process measured of the same tests."""
        tests = self._digest()
        if memory.exists():
            told = json.loads(memory.read_text("utf-8"))
            if told["tests"] == tests:
                self._take(told)
                return
        told = self._measured()
        told["tests"] = tests
        memory.write_text(json.dumps(told), "utf-8")
        self._take(told)

    def _digest(self) -> str:
        """Return what the names of the tests and the text of their files come to."""
        files = sorted({str(item.path) for item in self.items.values()})
        parts = [*sorted(self.items), *[Path(file).read_text("utf-8") for file in files]]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _take(self, told: dict[str, Any]) -> None:
        self.seconds = told["seconds"]
        self.reached = {name: set(tests) for name, tests in told["reached"].items()}

    def _measured(self) -> dict[str, Any]:
        files = {str(m.__file__): name for name, m in self.modules.items()}
        reached: dict[str, set[str]] = {}
        seconds = {}
        current = ""

        def profile(frame: types.FrameType, event: str, argument: object) -> None:
            del argument
            if event == "call":
                name = files.get(frame.f_code.co_filename)
                if name is not None:
                    qualified = frame.f_code.co_qualname.split(".<locals>")[0]
                    reached.setdefault(f"{name}:{qualified}", set()).add(current)

        for current, item in self.items.items():
            begun = time.monotonic()
            sys.setprofile(profile)
            failed = _fails(item)
            sys.setprofile(None)
            seconds[current] = time.monotonic() - begun
            if failed:
                sys.stderr.write(f"{current} fails\n")
                raise SystemExit(1)
        return {"seconds": seconds, "reached": {k: sorted(v) for k, v in reached.items()}}

    def tests_of(self, module: str, function: str) -> list[str]:
        """Return the tests that reach a function, or anything of the module; fast ones first."""
        if function:
            wanted = {f"{module}:{function}"}
        else:
            wanted = {name for name in self.reached if name.startswith(f"{module}:")}
        if function and not self.reached.keys() & wanted:
            # A class: whoever reaches one of its methods.
            wanted = {n for n in self.reached if n.startswith(f"{module}:{function}")}
        if not wanted and "." in function:
            # A function in another: whoever reaches the outer one.
            return self.tests_of(module, function.rpartition(".")[0])
        names = set().union(*[self.reached.get(name, set()) for name in wanted])
        if not function:
            names |= {
                n
                for n in self.items
                if n.split("::")[0].endswith(f"{module.rsplit('.', maxsplit=1)[-1]}.py")
            }
        return sorted(names, key=lambda n: (self.seconds[n], n))

    # ---- trying ----------------------------------------------------------------------------------

    def try_mutant(self, module: str, mutant: Mutant, killers: Iterable[str] = ()) -> Verdict:
        """Run the tests that reach a mutant until one fails; `killers` are tried first."""
        tests = self.tests_of(module, mutant.function)
        first = [name for name in killers if name in tests]
        tests = [*first, *[name for name in tests if name not in first]]
        if not tests:
            return Verdict(UNREACHED)
        signal.alarm(round(max(SECONDS_MIN, 10 * sum(self.seconds[name] for name in tests))))
        try:
            return self._judged(module, mutant, tests)
        except OutOfTimeError:
            return Verdict(TIMEOUT)
        finally:
            signal.alarm(0)

    def _judged(self, module: str, mutant: Mutant, tests: list[str]) -> Verdict:
        try:
            swap = swapped(self.modules[module], mutant.source)
            swap.__enter__()
        except Exception as error:  # noqa: BLE001
            return Verdict(KILLED, f"import: {error!r}"[:80])
        try:
            for name in tests:
                if _fails(self.items[name]):
                    break
            else:
                return Verdict(SURVIVED)
        finally:
            swap.__exit__(None, None, None)
        self._trust(name)
        return Verdict(KILLED, name)

    def _trust(self, name: str) -> None:
        """Run a test that killed for the first time without the mutant; it must pass again."""
        if name not in self.trusted and _fails(self.items[name]):
            sys.stderr.write(f"{name} passes once, and fails when it is run again\n")
            raise SystemExit(1)
        self.trusted.add(name)


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTimeError


def _fails(item: pytest.Item) -> bool:
    from _pytest.runner import runtestprotocol  # noqa: PLC0415

    reports = runtestprotocol(item, log=False, nextitem=None)
    if any("OutOfTimeError" in str(report.longrepr) for report in reports if report.failed):
        raise OutOfTimeError
    return any(report.failed for report in reports)


def run_session(paths: list[str], modules: list[str], work: Callable[[Session], None]) -> int:
    """Collect the tests of `paths` and hand the session to `work`."""
    return int(pytest.main([*paths, "-p", "no:xdist"], plugins=[Session(modules, work)]))
