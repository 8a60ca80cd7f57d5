"""What the code of a process's folder must and must not have, told from its text; nothing is run.

A process is pure: what it returns follows from its frames and its day alone, so that a run can be
repeated. So its modules import only what computes, and name nothing that asks a clock, an
environment, a disk, a network or chance, or that makes inexact numbers.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from orchestration.specs import ProcessSpec

# A package stands for its modules too; `math` and `statistics` compute in floats.
IMPORTS = (
    "__future__",
    "acme.domain",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "operator",
    "polars",
    "re",
    "string",
    "typing",
)
_BUILTINS = frozenset(
    {"__import__", "breakpoint", "eval", "exec", "float", "input", "open", "print"}
)
_CLOCKS = frozenset({"now", "today", "utcnow", "fromtimestamp", "utcfromtimestamp"})
# What polars does with a file, a database, the network, chance or floats.
_OF_POLARS = ("read_", "scan_", "sink_", "write_")
_POLARS = frozenset({"Float32", "Float64", "SQLContext", "sample", "shuffle"})


def wrong(spec: ProcessSpec) -> list[str]:
    """Return what a process's code lacks, and what in it is not pure: file, line and name."""
    return [*missing(spec), *impure(spec.folder, spec.path())]


# ---- what is missing ----------------------------------------------------------------------------


def missing(spec: ProcessSpec) -> Iterator[str]:
    """Yield functions and models that an archetype or a declared check needs and are not there."""
    where = f"assets/{spec.folder}"
    match spec.archetype:
        case "DbtModels":
            for dataset in spec.writes:
                model = f"models/{dataset.partition('.')[2]}.sql"
                if not (spec.path() / model).is_file():
                    yield f"{where}/{model}: expected a model, got no such file"
        case "Reconciliation" if spec.keys:
            yield from _functions(where, spec.path(), "process.py", ("left", "right"))
        case _:
            yield from _functions(where, spec.path(), "process.py", ("run",))
    names = tuple(check.name for check in spec.checks)
    yield from _functions(where, spec.path(), "checks.py", names)


def _functions(where: str, folder: Path, name: str, functions: tuple[str, ...]) -> Iterator[str]:
    if not functions:
        return
    if not (folder / name).is_file():
        yield f"{where}/{name}: expected {', '.join(functions)}, got no such file"
        return
    tree = _tree(folder / name)
    if isinstance(tree, str):
        return  # Told with what is not pure, once.
    there = _named_at_the_top(tree)
    for function in functions:
        if function not in there:
            yield f"{where}/{name}: expected a function {function}, got none"


def _named_at_the_top(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef():
                found.add(node.name)
            case ast.Assign():
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            case ast.ImportFrom():
                found |= {alias.asname or alias.name for alias in node.names}
    return found


# ---- what is not pure ---------------------------------------------------------------------------


def impure(folder: str, path: Path) -> Iterator[str]:
    """Yield what the modules of a process's folder may not name: file, line, name."""
    for module in sorted(path.glob("*.py")):
        where = f"assets/{folder}/{module.name}"
        tree = _tree(module)
        if isinstance(tree, str):
            yield f"{where}{tree}"
            continue
        own = f"assets.{folder.replace('/', '.')}"
        nodes = list(ast.walk(tree))
        hidden = set(_given_a_meaning(nodes))
        found = {told for node in nodes for told in _told(node, own)}
        found |= {told for node in nodes for told in _builtin(node, hidden)}
        yield from (f"{where}:{line}: {text}" for line, text in sorted(found))


def _tree(path: Path) -> ast.Module | str:
    """Return a module's tree, or where and why it is no Python."""
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        return f":{error.lineno or 1}: expected Python, got {error.msg}"
    except (OSError, ValueError) as error:
        return f": expected Python, got {error}"


def _told(node: ast.AST, own: str) -> Iterator[tuple[int, str]]:
    match node:
        case ast.Import():
            for alias in node.names:
                yield from _import(node.lineno, alias.name, own)
        case ast.ImportFrom():
            module = f"{'.' * node.level}{node.module or ''}"
            for alias in node.names if module in ("", "acme", own) else ():
                yield from _import(node.lineno, f"{module}.{alias.name}", own)
            if module not in ("acme", own):
                yield from _import(node.lineno, module, own)
            yield from (
                (node.lineno, _outside(alias.name))
                for alias in node.names
                if module == "polars" and _is_outside(alias.name)
            )
        case ast.Attribute() if node.attr in _CLOCKS:
            yield node.lineno, _clock(node.attr)
        case ast.Attribute() if _is_outside(node.attr):
            yield node.lineno, _outside(node.attr)


def _import(line: int, module: str, own: str) -> Iterator[tuple[int, str]]:
    allowed = (*IMPORTS, own)
    if module.startswith("."):
        # From beside it; two dots would be another process's.
        if module.startswith(".."):
            yield line, f"expected an import of the process's own folder, got {module}"
    elif not any(module == name or module.startswith(f"{name}.") for name in allowed):
        yield line, f"expected an import of {', '.join(IMPORTS[1:])}, got {module}"


def _given_a_meaning(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield names that a module uses for things of its own, whatever builtins they hide."""
    for node in nodes:
        match node:
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.arg():
                yield node.arg
            case ast.FunctionDef():
                yield node.name


def _builtin(node: ast.AST, hidden: Container[str]) -> Iterator[tuple[int, str]]:
    match node:
        case ast.Name(id=name) if name in _BUILTINS and name not in hidden:
            yield node.lineno, _reached(name)


def _is_outside(name: str) -> bool:
    return name in _POLARS or name.startswith(_OF_POLARS)


def _outside(name: str) -> str:
    return f"expected frames in and exact frames out, got {name}"


def _clock(name: str) -> str:
    return f"expected the day's run_date, as_of or known_at, got {name}, which asks a clock"


def _reached(name: str) -> str:
    if name == "float":
        return "expected a decimal, got float"
    return f"expected what follows from its frames, got {name}, which reaches outside of them"
