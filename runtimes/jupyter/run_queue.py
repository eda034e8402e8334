"""In which order queued cells run. Pure: time comes in as numbers of seconds.

The front end sends one request a cell. Our page (browser/connection.js) sends them one after the other, and says which
belong together (`Item.together`). From another client, *Run All* comes at once over several connections, so requests
arrive jumbled: what arrives together then runs in the document's order. What a person runs one after the other runs in
that order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from runtimes.jupyter.cell_outputs import CellOutputs

#: Requests of one batch follow each other within this time; people are slower.
TOGETHER_SECONDS = 0.15
#: The keystrokes that a person saw when they ran the cell are on another connection than the request to run it.
SETTLE_SECONDS = 0.03


@dataclass
class Item:
    """One queued cell. `place` counts code cells from the top of its document; `together` is the page's own number of
    what was asked for at once (0: unknown)."""

    run_id: int
    document_id: UUID
    cell_id: str
    subject: str
    arrived: float
    place: int
    outputs: CellOutputs = field(repr=False)
    batch: int = 0
    together: int = 0

    @property
    def order(self) -> tuple[int, int, int]:
        return self.batch, 0 if self.together else self.place, self.run_id


class RunQueue:
    """What waits for one kernel."""

    def __init__(self) -> None:
        self._waiting: dict[int, Item] = {}
        self._newest: Item | None = None
        self._last_taken: Item | None = None
        self._failed_batch: int | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._waiting

    def add(self, item: Item) -> bool:
        """Queues an item, if its batch goes on; False if it has failed already. Items are added as they arrived."""
        item.batch = self._batch_of(item)
        self._newest = item
        if item.batch == self._failed_batch:
            return False
        self._waiting[item.run_id] = item
        return True

    def _batch_of(self, item: Item) -> int:
        newest = self._newest
        if newest is None:
            return int(item.arrived * 1e6)
        same = (newest.document_id, newest.subject) == (item.document_id, item.subject)
        if item.together or newest.together:
            same = same and item.together == newest.together
        else:
            same = same and item.arrived - newest.arrived < TOGETHER_SECONDS
        if same:
            return newest.batch
        return max(int(item.arrived * 1e6), newest.batch + 1)

    def take(self, now: float) -> tuple[Item | None, float | None]:
        """The item to run now; else how many seconds to wait for it (None: nothing waits)."""
        if not self._waiting:
            return None, None
        first = min(self._waiting.values(), key=lambda item: item.order)
        wait = self._ripe_at(first) - now
        if wait > 0:
            return None, wait
        del self._waiting[first.run_id]
        self._last_taken = first
        return first, None

    def _ripe_at(self, item: Item) -> float:
        """When it is certain enough that nothing comes that has to run before `item`."""
        settled = item.arrived + SETTLE_SECONDS
        before = self._last_taken
        if item.together or before is None or before.batch != item.batch or before.place + 1 == item.place:
            return settled
        newest = max(one.arrived for one in self._waiting.values() if one.batch == item.batch)
        return max(settled, newest + TOGETHER_SECONDS)

    def fail(self, batch: int) -> list[Item]:
        """Empties the queue after an error in `batch`; what still arrives of that batch is not queued any more."""
        self._failed_batch = batch
        return self.clear()

    def clear(self) -> list[Item]:
        """Empties the queue. Returns what waited, in order."""
        items = sorted(self._waiting.values(), key=lambda item: item.order)
        self._waiting.clear()
        return items

    def drop(self, run_ids: set[int]) -> list[Item]:
        """Takes out what is not in `run_ids`, the rows that are still queued."""
        gone = [item for item in self._waiting.values() if item.run_id not in run_ids]
        for item in gone:
            del self._waiting[item.run_id]
        return gone
