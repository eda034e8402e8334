"""What went wrong with pods that shall be kept warm: how long the next one waits, and what operators read. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

#: How long the next one waits after a failure; twice as long after each that follows, up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=5)
#: Where the quota is full, somebody may leave; where the cluster did not answer, it may.
ROOM_PAUSE = timedelta(seconds=30)
#: One that has been ready for so long does not fail as those before it did.
STEADY = timedelta(seconds=30)
_MOST_DOUBLED = 10


@dataclass(frozen=True, slots=True)
class Setback:
    """words: the cluster's. count: failures, one after the other; 0 where there was only no room."""

    words: str
    count: int
    at: datetime
    until: datetime


class Setbacks:
    """By template: whoever edits a profile begins anew."""

    def __init__(self) -> None:
        self._of: dict[str, Setback] = {}

    def failed(self, template: str, words: str, now: datetime) -> bool:
        """One was made and will not do, or will never be made. Whether it says something new: those that were made at
        the same time do not."""
        former = self._of.get(template)
        if former is not None and former.count and now < former.until:
            return False
        count = former.count + 1 if former is not None else 1
        pause = min(FIRST_PAUSE * 2 ** min(count - 1, _MOST_DOUBLED), LONGEST_PAUSE)
        self._of[template] = Setback(words, count, now, now + pause)
        return True

    def no_room(self, template: str, words: str, now: datetime) -> None:
        """The quota is full, or the cluster did not answer."""
        former = self._of.get(template)
        count, at = (former.count, former.at) if former is not None else (0, now)
        self._of[template] = Setback(words, count, at, now + ROOM_PAUSE)

    def made(self, template: str) -> None:
        """There was room for one."""
        if (former := self._of.get(template)) is not None and not former.count:
            del self._of[template]

    def ready(self, template: str, since: datetime | None, now: datetime) -> None:
        """One has been ready since then."""
        former = self._of.get(template)
        if former is not None and since is not None and since > former.at and now - since >= STEADY:
            del self._of[template]

    def keep(self, templates: Collection[str]) -> None:
        """Forgets the others."""
        self._of = {template: setback for template, setback in self._of.items() if template in templates}

    def waits(self, template: str, now: datetime) -> bool:
        """No other is made now."""
        return template in self._of and now < self._of[template].until

    def at_once(self, template: str, missing: int, starting: int) -> int:
        """How many of the missing ones are made now, where so many start: after a failure one at a time."""
        careful = template in self._of and self._of[template].count
        return max(min(missing, 1 - starting), 0) if careful else missing

    def words(self, template: str) -> str:
        """What went wrong last; "" for nothing."""
        return self._of[template].words if template in self._of else ""
