"""What an import or export did, for the person at the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_MOST_REMARKS = 200


@dataclass
class Report:
    """Counts by name, in the order of their first mention, and what was left out or differs, with its place."""

    counts: dict[str, int] = field(default_factory=dict)
    remarks: list[tuple[str, str]] = field(default_factory=list)

    def count(self, name: str, by: int = 1) -> None:
        """Adds to one number; it is shown also while it is 0."""
        self.counts[name] = self.counts.get(name, 0) + by

    def remark(self, place: str, sentence: str) -> None:
        """Something that a person should know."""
        self.remarks.append((place, sentence))

    def take(self, remarks: list[tuple[str, str]]) -> None:
        """Moves remarks that somebody else collected here."""
        self.remarks += remarks
        remarks.clear()

    def lines(self) -> Iterable[str]:
        """The summary as it is printed."""
        width = max(map(len, self.counts), default=0)
        for name, number in self.counts.items():
            yield f"  {name:<{width}}  {number}"
        if not self.remarks:
            yield "  Nothing was left out."
            return
        yield f"Left out, or different from what you may expect ({len(self.remarks)}):"
        for place, sentence in self.remarks[:_MOST_REMARKS]:
            yield f"  {place}: {sentence}"
        if len(self.remarks) > _MOST_REMARKS:
            yield f"  ... and {len(self.remarks) - _MOST_REMARKS} more"
