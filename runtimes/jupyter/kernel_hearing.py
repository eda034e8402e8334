"""What a kernel says, brought to the cells that it is about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import Any

from runtimes.jupyter.cell_outputs import CellOutputs, update_display
from runtimes.jupyter.current_run import PREFIX, CurrentRun, message_id
from runtimes.jupyter.output_widgets import OutputWidgets
from runtimes.jupyter.replica import Replica

# Cells whose later output (of a thread, say) still finds its way.
_REMEMBERED = 200

Message = dict[str, Any]


def after(msg_id: str) -> str:
    """The id of a question that a kernel answers once it is done with `msg_id`."""
    return f"after-{msg_id}"


class KernelHearing:
    """Of one kernel. `current` is the run that it is busy with; `tell` sends it something on shell."""

    def __init__(
        self, replicas: Callable[[], Iterable[Replica]], tell: Callable[[str, dict[str, Any]], Awaitable[None]]
    ) -> None:
        self.tell = tell
        self.current: CurrentRun | None = None
        self._widgets = OutputWidgets(PREFIX)
        self._replicas = replicas
        self._outputs: dict[str, CellOutputs] = {}

    def begin(self, run_id: int, outputs: CellOutputs) -> CurrentRun:
        """From now on that run is the current one."""
        self._outputs[message_id(run_id)] = outputs
        while len(self._outputs) > _REMEMBERED:
            del self._outputs[next(iter(self._outputs))]
        self.current = CurrentRun(run_id, outputs)
        return self.current

    async def handle(self, channel: str, messages: list[Message]) -> None:
        """Takes what came on one channel."""
        if channel == "iopub":
            self._iopub([message for message in messages if not self._widgets.hear(message)])
            for content in self._widgets.changed():
                await self.tell("comm_msg", content)
        elif self.current:
            for message in messages:
                self._answer(self.current, message)

    def _answer(self, current: CurrentRun, message: Message) -> None:
        """On shell or stdin."""
        if message["parent"] == after(current.msg_id):
            current.ended_unseen()
        elif message["parent"] != current.msg_id:
            return
        elif message["msg_type"] == "execute_reply":
            current.replied(message["content"])
        elif message["msg_type"] == "input_request":
            current.ask(message["content"])

    def _iopub(self, messages: list[Message]) -> None:
        for (parent, is_update), group in groupby(messages, key=_kind):
            if is_update:
                self._update_displays(group)
            elif outputs := self._outputs.get(parent):
                self._put(parent, outputs, list(group))

    def _put(self, parent: str, outputs: CellOutputs, messages: list[Message]) -> None:
        outputs.write(messages)
        if self.current and self.current.msg_id == parent:
            for message in messages:
                self.current.heard(message)

    def _update_displays(self, messages: Iterable[Message]) -> None:
        for message in messages:
            for replica in self._replicas():
                update_display(replica, message["content"])


def _kind(message: Message) -> tuple[str, bool]:
    return message["parent"], message["msg_type"] == "update_display_data"
