"""What landing found in a file: findings, their counts and their JSON; nothing is checked here."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["error", "remark"]

# Findings kept in full for each file; the counts go on beyond them.
KEPT_MAX: Final = 100
_TEXT_MAX: Final = 200


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a file.

    An `error` quarantines the file; a `remark` says that some rows have no effect. `row` is the
    line of the file (the header is line 1), None for the file as a whole.
    """

    severity: Severity
    rule: str
    row: int | None = None
    field: str | None = None
    expected: str | None = None
    got: str | None = None

    def as_json(self) -> dict[str, str | int]:
        """The parts that are known, by name."""
        parts: dict[str, str | int | None] = {
            "severity": self.severity,
            "rule": self.rule,
            "row": self.row,
            "field": self.field,
            "expected": self.expected,
            "got": self.got,
        }
        return {name: value for name, value in parts.items() if value is not None}

    def __str__(self) -> str:
        """One line for people."""
        where = ["file" if self.row is None else f"row {self.row}"]
        if self.field is not None:
            where.append(self.field)
        text = f"{', '.join(where)}: {self.rule}"
        if self.expected is not None:
            text += f": expected {self.expected}"
        if self.got is not None:
            text += f", got {self.got}"
        return text


class Findings:
    """Collects findings in the order of their rows: the first ones in full, all of them counted."""

    def __init__(self) -> None:
        """Start without findings."""
        self._kept: dict[Severity, list[Finding]] = {"error": [], "remark": []}
        self._counts: Counter[tuple[Severity, str]] = Counter()

    def add(self, finding: Finding, count: int = 1) -> None:
        """Count `count` findings of this kind and keep this one while there is room."""
        self._counts[finding.severity, finding.rule] += count
        kept = self._kept[finding.severity]
        if len(kept) < KEPT_MAX:
            kept.append(finding)

    def add_all(self, findings: Iterable[Finding], count: int) -> None:
        """Keep what has room of `findings`, which are the first of `count` of one kind."""
        listed = list(findings)
        for finding in listed:
            self.add(finding)
        if listed:
            self._counts[listed[0].severity, listed[0].rule] += count - len(listed)

    @property
    def has_error(self) -> bool:
        """Whether the file must be quarantined."""
        return any(severity == "error" for severity, _ in self._counts)

    @property
    def kept(self) -> tuple[Finding, ...]:
        """The first findings, errors before remarks, each by row."""
        ordered = [
            *sorted(self._kept["error"], key=lambda item: item.row or 0),
            *sorted(self._kept["remark"], key=lambda item: item.row or 0),
        ]
        return tuple(ordered[:KEPT_MAX])

    @property
    def counts(self) -> dict[str, int]:
        """How many findings each rule has, those not kept included."""
        return {
            rule: count
            for (_severity, rule), count in sorted(self._counts.items(), key=lambda item: item[0])
        }


def findings_json(findings: Iterable[Finding], counts: Mapping[str, int]) -> str:
    """`{"counts": {rule: n}, "findings": [{severity, rule, row?, field?, expected?, got?}]}`."""
    document = {"counts": dict(counts), "findings": [finding.as_json() for finding in findings]}
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def shown(text: str | None) -> str:
    """A value from a file as findings show it: quoted, shortened, on one line."""
    if text is None:
        return "nothing"
    if len(text) > _TEXT_MAX:
        return f"{text[:_TEXT_MAX]!r}… ({len(text)} characters)"
    return repr(text)
