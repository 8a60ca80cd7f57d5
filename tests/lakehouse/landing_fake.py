"""An in-memory stand-in for `Control`, as far as landing uses it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time

from acme.lakehouse.control import Detail, LandedFile, ReferenceKind, Scheme, Verdict


class FakeControl:
    """Keeps landed files and reference keys in lists and dicts."""

    def __init__(self, currency: str = "USD") -> None:
        self._scheme = Scheme(currency, time(12), "Europe/London", datetime(2020, 1, 1, tzinfo=UTC))
        self.files: list[LandedFile] = []
        self.reference: dict[ReferenceKind, dict[str, Detail]] = {}

    def scheme(self) -> Scheme:
        return self._scheme

    def file_by_sha(self, feed: str, file_sha256: str) -> LandedFile | None:
        same = [file for file in self.files if (file.feed, file.file_sha256) == (feed, file_sha256)]
        accepted = [file for file in same if file.verdict == "accepted"]
        return (accepted or same or [None])[-1]

    def accepted_name_exists(self, feed: str, name: str) -> bool:
        return any(
            (file.feed, file.name, file.verdict) == (feed, name, "accepted") for file in self.files
        )

    def known(self, kind: ReferenceKind, keys: Iterable[str]) -> dict[str, Detail]:
        have = self.reference.get(kind, {})
        return {key: have[key] for key in keys if key in have}

    def register_file(
        self,
        *,
        feed: str,
        name: str,
        file_sha256: str,
        size: int,
        rows: int,
        verdict: Verdict,
        findings: str,
        received_at: datetime | None = None,
        reference_keys: Mapping[ReferenceKind, Mapping[str, Detail]] | None = None,
    ) -> LandedFile:
        before = self.file_by_sha(feed, file_sha256)
        if before is not None and (before.verdict == "accepted" or verdict == "quarantined"):
            return before
        landed = LandedFile(
            sequence=len(self.files) + 1,
            feed=feed,
            name=name,
            file_sha256=file_sha256,
            size=size,
            rows=rows,
            received_at=received_at or datetime(2020, 1, 1, tzinfo=UTC),
            verdict=verdict,
            findings=findings,
            run_date=None,
        )
        self.files.append(landed)
        for kind, keys in (reference_keys or {}).items():
            self.reference.setdefault(kind, {}).update(keys)
        return landed
