"""Finds in source text where something is written, renamed, removed or committed. Runs nothing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("acme/lakehouse", "acme/operations", "acme/evidence", "orchestration", "sensors")
CALLS = {
    *("rename", "renames", "unlink", "remove", "rmtree", "rmdir", "move", "link", "truncate"),
    *("fsync", "fsync_folder", "copyfile", "copytree", "copy2", "write_bytes", "write_text"),
    *("commit", "begin"),
}
VERBS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "MERGE", "COMMIT")


@dataclass
class Function:
    """What one function does: its writes, the names it calls, whether it reaches a fail-point."""

    name: str
    sites: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    reaches: bool = False


def sources() -> dict[str, str]:
    """Return the text of every file that is looked at, by its path."""
    return {
        str(path.relative_to(ROOT)): path.read_text("utf-8")
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "migrations" not in path.parts
    }


def functions(texts: Mapping[str, str]) -> list[Function]:
    """Return every function, and the body of every module as one."""
    found = []
    for path, text in texts.items():
        module = path.removesuffix(".py").replace("/", ".")
        tree = ast.parse(text)
        found += [_function(f"{module}.{name}", node) for name, node in _definitions(tree, "")]
        found.append(_function(module, tree))
    return found


def uncovered(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Return function → writes at which no fail-point is, neither in it nor in all its callers."""
    known = functions(texts)
    callers: dict[str, list[Function]] = defaultdict(list)
    for function in known:
        for name in function.calls:
            callers[name].append(function)

    def is_covered(function: Function, seen: frozenset[str]) -> bool:
        if function.reaches:
            return True
        name = function.name.rpartition(".")[2]
        others = [f for f in callers[name] if f.name not in seen and f is not function]
        return bool(others) and all(is_covered(f, seen | {function.name}) for f in others)

    return {f.name: f.sites for f in known if f.sites and not is_covered(f, frozenset())}


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", child


def _function(name: str, node: ast.AST) -> Function:
    function = Function(name)
    nested = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    waiting = list(ast.iter_child_nodes(node))
    while waiting:
        child = waiting.pop()
        if isinstance(node, ast.Module) and isinstance(child, nested):
            continue
        waiting += ast.iter_child_nodes(child)
        if isinstance(child, ast.Call):
            _take(function, child)
    return function


def _take(function: Function, call: ast.Call) -> None:
    called = call.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    function.calls.add(name)
    if name == "reach":
        function.reaches = True
    elif _writes(name, called, call):
        function.sites.append(f"line {call.lineno}: {ast.unparse(called)}")


def _writes(name: str, called: ast.expr, call: ast.Call) -> bool:
    texts = [_text(argument) for argument in call.args]
    if name in CALLS:
        return True
    if name == "replace":
        # A path's has one argument; a text's has two, a date's and a dataclass's have names.
        return len(call.args) == 1 and not call.keywords and isinstance(called, ast.Attribute)
    if name == "open":
        return any(set(text) & set("wxa+") and set(text) <= set("rwxabt+") for text in texts)
    if name in ("execute", "executemany"):
        return any(text.lstrip().upper().startswith(VERBS) for text in texts)
    return False


def _text(argument: ast.expr) -> str:
    if isinstance(argument, ast.JoinedStr) and argument.values:
        return _text(argument.values[0])
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    return ""
