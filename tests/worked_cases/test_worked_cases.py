"""The cases worked by hand: every figure a page states is the platform's and the reference's."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from datetime import date, time
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import pytest

from acme.lakehouse import contracts
from tests.histories.case import Case
from tests.histories.compare import Player
from tests.worked_cases.reading import FEEDS, SCHEME, TABLES, Row, blocks, order_id, pages, read


class Runner(Protocol):
    """What a case is run on."""

    def land(self, feed: str, rows: list[Row]) -> None: ...

    def day(self, run_date: date) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


class OnPlatform:
    """The platform's own processes, on frames in memory."""

    def __init__(self) -> None:
        self._player = Player(Case("worked"), None)

    def land(self, feed: str, rows: list[Row]) -> None:
        assert self._player.platform.land(feed, rows), self._player.platform.quarantined

    def day(self, run_date: date) -> Mapping[str, Any]:
        assert self._player.platform.run(run_date) == []
        return self._player.figures(run_date)

    def close(self) -> None:
        self._player.close()


def has_reference() -> bool:
    return all(map(importlib.util.find_spec, ("tests.reference", "tests.reference.model")))


class OnReference:
    """The independent implementation of the same rules."""

    def __init__(self) -> None:
        if not has_reference():
            pytest.skip("there is no tests.reference.model")
        model = importlib.import_module("tests.reference.model")
        self._reference = model.Reference("USD", time(12), "Europe/London")

    def land(self, feed: str, rows: list[Row]) -> None:
        self._reference.land(feed, rows)

    def day(self, run_date: date) -> Mapping[str, Any]:
        figures = self._reference.day(run_date)
        assert not figures.violations
        return {t.attribute: getattr(figures, t.attribute) for t in TABLES.values()}

    def close(self) -> None:
        pass


@pytest.mark.parametrize("runner", [OnPlatform, OnReference])
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_figure_of_the_case(page: Path, runner: Callable[[], Runner]) -> None:
    case, differing = read(page), []
    on = runner()
    try:
        for day, files in case.days.items():
            for block in files:
                on.land(block.words[0], [dict(row) for row in block.rows])
            figures = on.day(day)
            for name, stated in case.figures.get(day, {}).items():
                differing += _differing(f"{day} {name}", stated, figures[TABLES[name].attribute])
    finally:
        on.close()
    assert not differing, "\n".join(["figure, on the page, computed", *differing])


def _differing(name: str, stated: Mapping[Any, Any], computed: Any) -> list[str]:
    if isinstance(computed, (set, frozenset)):
        computed = dict.fromkeys(computed, True)
    page = {key: _even(value) for key, value in stated.items()}
    found = {key: _even(value) for key, value in computed.items()}
    return [
        f"{name} {key}: {page.get(key)} | {found.get(key)}"
        for key in sorted(page.keys() | found.keys(), key=str)
        if page.get(key) != found.get(key)
    ]


def _even(value: Any) -> Any:
    """Bring numbers, reasons and sets of states to one form."""
    if isinstance(value, tuple):
        return tuple(_even(v) for v in value)
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(value))
    if value is None or value == "" or isinstance(value, (bool, str)):
        return value or None
    return Fraction(value)


def test_pages_are_numbered_and_each_states_figures() -> None:
    assert [int(page.stem[:2]) for page in pages()] == list(range(1, 23))
    for page in pages():
        assert read(page).figures, page.name


@pytest.mark.parametrize("page", [SCHEME, *pages()], ids=lambda page: page.stem)
def test_files_on_the_page_are_whole(page: Path) -> None:
    for block in blocks(page):
        feed = block.words[-1]
        if feed in FEEDS:
            assert block.columns == tuple(contracts.feed(feed).column_names), block.line


def test_index_names_every_page() -> None:
    index = SCHEME.with_name("README.md").read_text("utf-8")
    for page in pages():
        title = page.read_text("utf-8").splitlines()[0].removeprefix("# ").split(". ", 1)[1]
        assert f"[{title}]({page.name})" in index


def test_wrong_missing_and_surplus_figures_are_seen() -> None:
    case = read(pages()[0])
    day, stated = next((d, f["balances"]) for d, f in case.figures.items() if f.get("balances"))
    first = next(iter(stated))
    assert not _differing(f"{day}", stated, dict(stated))
    for computed in ({**stated, first: stated[first] + 1}, {**stated, "more": Fraction(1)}, {}):
        assert _differing(f"{day}", stated, computed)


def test_order_ids_on_the_pages_are_hashes() -> None:
    # The example of docs/reference/interfaces.md: printf 'platform\nW-1' | sha256sum
    assert order_id("platform/W-1") == "7c24b71b393b5f51166d51db79854449"
