"""Runs the tests of acme.domain against mutants, each in a forked copy of one collected session.

pytest collects once and runs nothing; then every mutant is a fork that swaps the code of the
functions in place (whoever imported them sees it), runs the tests that reach the changed function
and dies with the first failure. Nothing may have run a Polars query before the forks: its threads
do not survive one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import time
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.operators import Mutant

SECONDS_MIN = 10
KILLED, SURVIVED, TIMEOUT, UNREACHED = "killed", "survived", "timeout", "unreached"


@dataclass
class Verdict:
    """What became of a mutant: by which test it was killed, or that it was not."""

    outcome: str
    by: str = ""


# ---- swapping code ------------------------------------------------------------------------------


def swap_in(module: types.ModuleType, source: str) -> None:
    """Make a loaded module behave as `source` does, for all who hold its functions and values."""
    fresh = types.ModuleType(module.__name__)
    fresh.__file__ = module.__file__
    sys.modules[module.__name__] = fresh
    try:
        exec(compile(source, module.__file__ or "", "exec"), fresh.__dict__)  # noqa: S102
    finally:
        sys.modules[module.__name__] = module
    changed: dict[int, Any] = {}
    for name, new in list(vars(fresh).items()):
        old = vars(module).get(name)
        if name.startswith("__") or old is new:
            continue
        if isinstance(new, types.FunctionType) and isinstance(old, types.FunctionType):
            if new.__module__ == module.__name__:
                _recode(old, new)
        elif isinstance(new, type) and isinstance(old, type):
            if new.__module__ == module.__name__:
                _reclass(old, new)
        elif not isinstance(new, (types.ModuleType, type(None))):
            if old is not None and id(old) not in changed and not _interned(old):
                changed[id(old)] = (old, new)
            setattr(module, name, new)
    _hand_out(changed)


def _interned(value: object) -> bool:
    return isinstance(value, (int, str, bytes, bool)) or value == ()


def _recode(old: types.FunctionType, new: types.FunctionType) -> None:
    old.__code__ = new.__code__
    old.__defaults__ = new.__defaults__
    old.__kwdefaults__ = new.__kwdefaults__


def _reclass(old: type, new: type) -> None:
    for name, value in list(vars(new).items()):
        before = vars(old).get(name)
        pairs = [(before, value)]
        if isinstance(value, (classmethod, staticmethod)) and isinstance(before, type(value)):
            pairs = [(before.__func__, value.__func__)]
        elif isinstance(value, property) and isinstance(before, property):
            pairs = [(before.fget, value.fget)]
        elif hasattr(value, "func") and hasattr(before, "func"):
            pairs = [(before.func, value.func)]
        for one, other in pairs:
            if isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType):
                _recode(one, other)
            elif not name.startswith("__") and not isinstance(other, types.FunctionType):
                with_value = not callable(other) and not hasattr(other, "__get__")
                if with_value:
                    setattr(old, name, other)


def _hand_out(changed: dict[int, Any]) -> None:
    """Give the new value to every module that holds the old one by name."""
    if not changed:
        return
    for module in list(sys.modules.values()):
        names = vars(module) if isinstance(module, types.ModuleType) else {}
        for name, value in list(names.items()):
            known = changed.get(id(value))
            if known is not None and known[0] is value:
                names[name] = known[1]


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

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run our work instead of the tests."""
        self.items = {item.nodeid: item for item in session.items}
        gc.freeze()
        self.work(self)
        return True

    # ---- which test reaches what -----------------------------------------------------------------

    def measure(self, memory: Path) -> None:
        """Run every test once in a fork, or read what an earlier one measured of the same tests."""
        names = sorted(self.items)
        if memory.exists():
            told = json.loads(memory.read_text("utf-8"))
            if told["tests"] == names:
                self._take(told)
                return
        child = os.fork()
        if child == 0:
            status = 1
            try:
                told = self._measured()
                told["tests"] = names
                memory.write_text(json.dumps(told), "utf-8")
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            raise SystemExit("a test fails without any mutant: mend it first")
        self._take(json.loads(memory.read_text("utf-8")))

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

        for current, item in self.items.items():  # noqa: B007
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
        """Return the tests that reach a function (the whole module where none is named), fast first."""
        if function:
            wanted = {f"{module}:{function}"}
        else:
            wanted = {name for name in self.reached if name.startswith(f"{module}:")}
        if function and not self.reached.keys() & wanted:
            # A class: whoever reaches one of its methods.
            wanted = {n for n in self.reached if n.startswith(f"{module}:{function}")}
        names = set().union(*[self.reached.get(name, set()) for name in wanted])
        if not function:
            names |= {n for n in self.items if n.split("::")[0].endswith(f"{module.split('.')[-1]}.py")}
        return sorted(names, key=lambda n: (self.seconds[n], n))

    # ---- trying ----------------------------------------------------------------------------------

    def try_mutant(self, module: str, mutant: Mutant, killers: Iterable[str] = ()) -> Verdict:
        """Run the tests that reach a mutant until one fails; `killers` are tried first."""
        tests = self.tests_of(module, mutant.function)
        first = [name for name in killers if name in tests]
        tests = [*first, *[name for name in tests if name not in first]]
        if not tests:
            return Verdict(UNREACHED)
        limit = max(SECONDS_MIN, 8 * sum(self.seconds[name] for name in tests))
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            self._child(module, mutant.source, tests, write)
        os.close(write)
        ready, _, _ = select.select([read], [], [], limit)
        if not ready:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(read)
            return Verdict(TIMEOUT)
        answer = os.read(read, 4096).decode()
        os.close(read)
        os.waitpid(child, 0)
        # A child that died without a word was killed by its mutant.
        return Verdict(SURVIVED) if answer == "survived" else Verdict(KILLED, answer)

    def _child(self, module: str, source: str, tests: list[str], write: int) -> None:
        answer = "survived"
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            try:
                swap_in(self.modules[module], source)
            except Exception:  # noqa: BLE001
                answer = "import"
            else:
                for name in tests:
                    if _fails(self.items[name]):
                        answer = name
                        break
            os.write(write, answer.encode()[:4000])
        finally:
            os._exit(0)


def _fails(item: pytest.Item) -> bool:
    from _pytest.runner import runtestprotocol  # noqa: PLC0415

    reports = runtestprotocol(item, log=False, nextitem=None)
    return any(report.failed for report in reports)


def run_session(paths: list[str], modules: list[str], work: Callable[[Session], None]) -> int:
    """Collect the tests of `paths` and hand the session to `work`."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    return int(pytest.main([*paths, "-p", "no:xdist"], plugins=[Session(modules, work)]))
