"""How much of a processor a runtime used, out of what was counted now and then. Pure.

Averages are over stretches of time that end with the last reading, so that what happened before is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

#: So many readings are kept of the time that is looked back on.
READINGS = 12
#: Seconds of processor time that are worth a write.
ENOUGH = 10.0
#: Of what it may use: what a load uses at least on average, and less than which it is over.
HEAVY, LIGHT = 0.5, 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """used: seconds of processor time in all."""

    at: datetime
    used: float


@dataclass(frozen=True, slots=True)
class Meter:
    """used: seconds of processor time so far; None before the first reading. base: of them those that were used before
    what is counted began again at 0. readings: oldest first, about `READINGS` of the time that is looked back on."""

    used: float | None = None
    base: float = 0.0
    readings: tuple[Reading, ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """What `to_json` made; {} is one that nobody has read."""
        readings = (Reading(datetime.fromtimestamp(at, UTC), used) for at, used in row.get("readings", ()))
        return cls(row.get("used"), row.get("base", 0.0), tuple(readings))

    def to_json(self) -> dict[str, Any]:
        """As a row keeps it."""
        readings = [[reading.at.timestamp(), reading.used] for reading in self.readings]
        return {"used": self.used, "base": self.base, "readings": readings}

    def read(self, count: float, now: datetime, back: timedelta) -> Meter:
        """After `count` seconds were counted. back: how far `average` will look back. A count that is smaller than the
        last one began again: a container was started again in its pod."""
        base = self.base
        if self.used is not None and base + count < self.used:
            base = self.used
        used = base + count
        readings = self.readings
        if not readings or now - readings[-1].at >= back / READINGS:
            readings = _since((*readings, Reading(now, used)), now - back)
        return Meter(used, base, readings)

    def tells_more(self, before: Meter) -> bool:
        """Whether it has to be kept in the place of `before`: there is a reading more, what is counted began again, or
        `ENOUGH` was used since."""
        if (self.readings, self.base) != (before.readings, before.base):
            return True
        return (self.used or 0.0) - (before.used or 0.0) >= ENOUGH

    def average(self, back: timedelta) -> float | None:
        """Processors in use on average over at least `back` until the last reading; None where it was not read for so
        long."""
        last = self.readings[-1] if self.readings else None
        before = [reading for reading in self.readings if last is not None and reading.at <= last.at - back]
        if last is None or not before:
            return None
        return (last.used - before[-1].used) / (last.at - before[-1].at).total_seconds()


def is_load(meter: Meter, cores: float, alone: timedelta, limit: timedelta) -> bool:
    """Whether it is a load: for `limit` no execution was begun, and half or more of its processors was used on average.

    cores: how many it may use. alone: how long ago the last execution was begun."""
    used = meter.average(limit)
    return alone >= limit and used is not None and used >= HEAVY * cores


def is_over(meter: Meter, cores: float, limit: timedelta) -> bool:
    """Whether a load has ended by itself: hardly anything was used lately. cores: what it may use now."""
    used = meter.average(limit / READINGS)
    return used is not None and used < LIGHT * cores


def _since(readings: tuple[Reading, ...], begin: datetime) -> tuple[Reading, ...]:
    """Those from `begin` on, and the last one before it."""
    before = sum(reading.at <= begin for reading in readings)
    return readings[max(before - 1, 0) :]
