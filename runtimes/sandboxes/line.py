"""Who waits on this host: first come first served, for a place, and among those who want a GPU for one of theirs."""

from __future__ import annotations

from collections.abc import Callable

from runtimes.machine import Gpu
from runtimes.provider import Reason
from runtimes.sandboxes.place import Place
from runtimes.sandboxes.seats import Hold, Seats


class Line:
    """full: whether there is no place for another one."""

    def __init__(self, seats: Seats, full: Callable[[], bool]) -> None:
        self.seats = seats
        self._full = full
        self._waiting: list[Place] = []

    @property
    def crowded(self) -> bool:
        """Somebody waits for a place and for nothing else."""
        return any(not place.request.gpu for place in self._waiting)

    def join(self, place: Place) -> None:
        """At the end; `serve` says what comes of it."""
        self._waiting.append(place)

    def leave(self, place: Place) -> None:
        """Nothing happens if it does not wait."""
        if place in self._waiting:
            self._waiting.remove(place)

    def serve(self, begin: Callable[[Place, Hold | None], None]) -> None:
        """Begins whoever can begin and tells the others where they stand."""
        stuck: list[str] = []
        for place in list(self._waiting):
            if self._full():
                break
            hold = None
            if place.request.gpu:
                hold = None if _is_behind(place, stuck) else self.seats.take(place.request)
                if hold is None:
                    stuck.append(_model(place))
                    continue
            self._waiting.remove(place)
            begin(place, hold)
        self._tell()

    def _tell(self) -> None:
        # Where there is a place, only those wait who want a GPU.
        reason = Reason.CAPACITY_WAIT if self._full() else Reason.ACCELERATOR_WAIT
        for position, place in enumerate(self._waiting, start=1):
            place.wait(position, reason)


def _model(place: Place) -> str:
    kind = place.request.machine.accelerator
    return kind.model if isinstance(kind, Gpu) else ""


def _is_behind(place: Place, stuck: list[str]) -> bool:
    """Whether somebody who came earlier waits for a GPU that this one could take."""
    model = _model(place)
    return any(not each or not model or each == model for each in stuck)
