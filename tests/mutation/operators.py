"""What a mutant is, and how all of a source file are made: one small change of its syntax tree.

A mutant is named by file, function, operator, the changed text and its number among equals, never
by a line, so that its name survives edits elsewhere.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
# A method that has an opposite or a close neighbour of the same arguments.
METHODS = {
    "first": "last",
    "last": "first",
    "min": "max",
    "max": "min",
    "sum": "max",
    "head": "tail",
    "tail": "head",
    "any": "all",
    "all": "any",
    "min_horizontal": "max_horizontal",
    "max_horizontal": "min_horizontal",
    "any_horizontal": "all_horizontal",
    "all_horizontal": "any_horizontal",
    "is_null": "is_not_null",
    "is_not_null": "is_null",
    "starts_with": "ends_with",
    "next": "prev",
    "prev": "next",
    "eq_missing": "ne_missing",
    "ne_missing": "eq_missing",
    "cum_sum": "cum_max",
    "lstrip": "rstrip",
}
# A link of a chain that can be left out: `x.filter(...)` becomes `x`.
LINKS = (
    "filter",
    "unique",
    "sort",
    "fill_null",
    "abs",
    "drop_nulls",
    "strip",
    "casefold",
    "reverse",
)
JOINS = {
    "left": ("inner",),
    "inner": ("left",),
    "anti": ("semi",),
    "semi": ("anti",),
    "full": ("inner", "left"),
    "cross": (),
}
# Texts after these names are names of columns and the like: changing one is a crash, not a fault.
NAMING = {
    "alias",
    "col",
    "with_columns",
    "select",
    "drop",
    "rename",
    "group_by",
    "join",
    "sort",
    "over",
    "unique",
    "explode",
    "minor",
    "exclude",
    "field",
}


@dataclass(frozen=True)
class Mutant:
    """One change: `key` names it, `function` is the qualified name it is in ('' for the module)."""

    key: str
    function: str
    line: int
    source: str


def mutants(path: Path, name: str) -> Iterator[Mutant]:
    """Yield every mutant of a source file; `name` begins the keys."""
    tree = ast.parse(path.read_text("utf-8"))
    seen: Counter[str] = Counter()
    for where, node, apply, operator in list(_sites(tree)):
        before = _text(node)
        changed = copy.deepcopy(tree)
        target = _find(changed, where)
        after = apply(changed, target, where)
        if after is None or after == before:
            continue
        function = _function(tree, where)
        label = f"{name}::{function or '<module>'}::{operator}::{before} -> {after}"
        seen[label] += 1
        key = label if seen[label] == 1 else f"{label} #{seen[label]}"
        yield Mutant(
            key,
            function,
            getattr(node, "lineno", 0),
            ast.unparse(ast.fix_missing_locations(changed)),
        )


# ---- places in a tree ---------------------------------------------------------------------------

Step = tuple[str, int | None]
Where = tuple[Step, ...]


def _walk(node: ast.AST, where: Where = ()) -> Iterator[tuple[Where, ast.AST]]:
    yield where, node
    for name, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield from _walk(value, (*where, (name, None)))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from _walk(item, (*where, (name, index)))


def _find(tree: ast.AST, where: Where) -> ast.AST:
    for name, index in where:
        value = getattr(tree, name)
        tree = value if index is None else value[index]
    return tree


def _replace(tree: ast.AST, where: Where, new: ast.AST) -> str:
    *path, (name, index) = where
    parent = _find(tree, tuple(path))
    if index is None:
        setattr(parent, name, new)
    else:
        getattr(parent, name)[index] = new
    return _text(new)


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-25:]}"


def _function(tree: ast.AST, where: Where) -> str:
    names, node = [], tree
    for name, index in where:
        value = getattr(node, name)
        node = value if index is None else value[index]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
    return ".".join(names)


# ---- operators ----------------------------------------------------------------------------------


def _sites(tree: ast.Module):
    """Yield (where, node, apply, operator) of every change that may be made."""
    skipped = _skipped(tree)
    for where, node in _walk(tree):
        if any(where[: len(s)] == s for s in skipped):
            continue
        for operator, new in _changes(node):
            yield where, node, _swap(new), operator
        yield from _structural(tree, where, node)


def _skipped(tree: ast.Module) -> list[Where]:
    """Return what is no behaviour: docstrings, imports, annotations, types, frozen records."""
    found = []
    for where, node in _walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.append(where)
        if (
            isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module))
            and ast.get_docstring(node) is not None
        ):
            found.append((*where, ("body", 0)))
        if isinstance(node, ast.ClassDef):
            found += [(*where, ("decorator_list", n)) for n in range(len(node.decorator_list))]
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            found.append((*where, ("returns", None)))
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation is not None:
            found.append((*where, ("annotation", None)))
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in {"Literal", "Mapping", "Callable"}
        ):
            found.append(where)
    return found


def _swap(new: ast.AST):
    def apply(tree: ast.AST, target: ast.AST, where: Where) -> str:
        del target
        return _replace(tree, where, copy.deepcopy(new))

    return apply


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield operator and what takes the node's place."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in COMPARISONS.get(type(node.ops[0]), ()):
            yield "comparison", ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, (ast.BinOp,)) and type(node.op) in ARITHMETIC:
        yield "arithmetic", ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
        if isinstance(node.op, (ast.BitAnd, ast.BitOr)):
            yield "operand", node.left
            yield "operand", node.right
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "boolean", ast.BoolOp(other, node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert, ast.USub)):
        yield "unary", node.operand
    elif isinstance(node, ast.IfExp):
        yield "branch", node.body
        yield "branch", node.orelse
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from _calls(node)


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield "constant", ast.Constant(node.value + 1)
        if node.value > 1:
            yield "constant", ast.Constant(node.value - 1)


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    function = node.func
    assert isinstance(function, ast.Attribute)
    if (other := METHODS.get(function.attr)) is not None:
        yield (
            "method",
            ast.Call(ast.Attribute(function.value, other, ast.Load()), node.args, node.keywords),
        )
    if function.attr in LINKS and not (
        isinstance(function.value, ast.Name) and function.value.id == "pl"
    ):
        yield "link", function.value
    for index, keyword in enumerate(node.keywords):
        for new in _keywords(function.attr, keyword):
            keywords = [*node.keywords]
            keywords[index] = ast.keyword(keyword.arg, new)
            yield "keyword", ast.Call(function, node.args, keywords)
    if function.attr == "lit" and node.args and isinstance(node.args[0], ast.Constant):
        value = node.args[0].value
        if isinstance(value, str):
            yield (
                "text",
                ast.Call(function, [ast.Constant(f"{value}x"), *node.args[1:]], node.keywords),
            )
    if function.attr in {"then", "otherwise"} and node.args:
        none = ast.parse("pl.lit(None)", mode="eval").body
        yield "outcome", ast.Call(function, [none], node.keywords)


def _keywords(method: str, keyword: ast.keyword) -> Iterator[ast.AST]:
    value = keyword.value
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return
    if method == "join" and keyword.arg == "how":
        for other in JOINS.get(value.value, ()):
            yield ast.Constant(other)
    if keyword.arg == "keep":
        yield ast.Constant("last" if value.value == "first" else "first")


def _structural(tree: ast.Module, where: Where, node: ast.AST):
    """Yield changes of statements and of comparisons of text: what no expression swap makes."""
    del tree
    if isinstance(node, ast.Compare):
        for index, other in enumerate(node.comparators):
            if isinstance(other, ast.Constant) and isinstance(other.value, str):
                yield (
                    (*where, ("comparators", index)),
                    other,
                    _swap(ast.Constant(f"{other.value}x")),
                    "text",
                )
    if isinstance(node, (ast.If, ast.While)) and where:
        yield (*where, ("test", None)), node.test, _swap(ast.Constant(value=False)), "condition"
        yield (*where, ("test", None)), node.test, _swap(ast.Constant(value=True)), "condition"
    statement = isinstance(node, (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break))
    if statement or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)):
        yield where, node, _swap(ast.Pass()), "statement"
    if isinstance(node, ast.Return) and node.value is not None:
        yield (*where, ("value", None)), node.value, _swap(ast.Constant(None)), "return"
