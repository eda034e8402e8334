"""The run that a kernel is busy with: from its request to its end, whichever way that comes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from runtimes.jupyter.cell_outputs import CellOutputs

# An idle that was lost (a kernel may drop it when it is flooded) must not keep the queue for ever, nor a lost reply.
_STRAGGLER_SECONDS = 10.0
#: Where the front end finds an input() that waits: a key of the document's `state`.
INPUT_KEY = "pupitre_input"
PREFIX = "run-"


def message_id(run_id: int) -> str:
    """The id of a run's execute_request: the same in any process, so that another one can take the run over."""
    return f"{PREFIX}{run_id}"


@dataclass
class CurrentRun:
    """Told by the kernel's messages. `failed` is known once it is over."""

    run_id: int
    outputs: CellOutputs
    failed: bool = False
    _replied: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _idle: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def msg_id(self) -> str:
        return message_id(self.run_id)

    async def over(self) -> None:
        """Returns when the kernel has replied and everything it put out is here."""
        waiting = [asyncio.create_task(event.wait()) for event in (self._replied, self._idle)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(waiting, timeout=_STRAGGLER_SECONDS)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def heard(self, message: dict[str, Any]) -> None:
        """An iopub message that belongs to this run."""
        if message["msg_type"] == "status":
            if message["content"].get("execution_state") == "idle":
                self._idle.set()
        elif message["msg_type"] == "error":
            self.failed = True

    def replied(self, content: dict[str, Any]) -> None:
        """The execute_reply."""
        self.failed = content.get("status") != "ok"
        self._replied.set()

    def ended_unseen(self) -> None:
        """Something that was asked after it was answered: it is over, whether we heard so or not."""
        self._replied.set()
        self._idle.set()

    def ask(self, content: dict[str, Any]) -> None:
        """input(): the page shows a prompt in the cell and answers the kernel by itself."""
        self.outputs.replica.view.ystate[INPUT_KEY] = {
            "cell_id": self.outputs.cell_id,
            "run": self.msg_id,
            "prompt": str(content.get("prompt", "")),
            "password": bool(content.get("password")),
        }

    def asks(self) -> bool:
        """True while an input() of this run waits for its answer."""
        asked = self.outputs.replica.view.ystate.get(INPUT_KEY)
        return bool(asked) and asked["run"] == self.msg_id

    def stop_asking(self) -> None:
        """Takes the prompt away from every page."""
        if self.asks():
            self.outputs.replica.view.ystate[INPUT_KEY] = None
