"""YAML as people write it for processes: one value for each key, errors in one line."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date
from typing import Any

import yaml

from acme.lakehouse.contracts import LOADER


class YamlError(ValueError):
    """Text that is no YAML, or states a key twice; says in which line."""


class _Loader(LOADER):  # type: ignore[valid-type, misc]
    """Refuses a key that is stated twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(f"expected a name, got a list or mapping in line {_line(key)}")
            if key.value in seen:
                raise YamlError(f"expected {key.value} once, got it twice, in line {_line(key)}")
            seen.add(key.value)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return found

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> date | str:
        """Keep what is no date, as 2024-02-31, as text: who expects one names its place."""
        try:
            found: date = super().construct_yaml_timestamp(node)
        except ValueError:
            return str(node.value)
        return found


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_timestamp)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def read(text: str) -> object:
    """Return what a text states. Raises YamlError, in one line."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  a safe one
    except YamlError:
        raise
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        told = str(error).replace(' in "<unicode string>",', " in")
        raise YamlError(" ".join(told.split())) from error
