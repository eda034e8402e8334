"""`ipywidgets.Output` (and so `interact`) in cells that run server-side.

Such a widget asks the front end to catch the outputs of one request and to put them into the widget's state. For what a
page requests (a slider that is moved) the page does that; for runs there is nobody but us. The kernel takes the new
state once its cell is done, and tells every page (ipywidgets 8, `echo_update`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from runtimes.jupyter.output_limits import Budget, size_of

Message = dict[str, Any]

_MODULE, _MODEL = "@jupyter-widgets/output", "OutputModel"
_CAUGHT = {"stream", "display_data", "execute_result", "error"}
_MOST_OUTPUTS = 1000


@dataclass
class _Widget:
    outputs: list[dict[str, Any]] = field(default_factory=list)
    caught_for: str = ""
    clear_first: bool = False
    changed: bool = False
    budget: Budget = field(default_factory=Budget)
    told: bool = False

    def catch(self, message: Message) -> None:
        kind, content = message["msg_type"], message["content"]
        self.changed = True
        if kind == "clear_output" and content.get("wait"):
            self.clear_first = True
            return
        if kind == "clear_output" or self.clear_first:
            self.outputs, self.clear_first, self.told = [], False, False
            self.budget.clear()
        if kind in _CAUGHT and len(self.outputs) < _MOST_OUTPUTS:
            self._take(kind, content)

    def _take(self, kind: str, content: dict[str, Any]) -> None:
        """As much as a cell would: what a widget catches is in this process's memory, and then in the notebook."""
        size = size_of(content)
        notice = self.budget.add_text(size) if kind == "stream" else self.budget.add_rich(size)
        if not notice:
            self._add(kind, content)
        elif not self.told:
            self.told = True
            self._add("stream", {"name": "stderr", "text": f"\n{notice}\n"})

    def _add(self, kind: str, content: dict[str, Any]) -> None:
        output = {"output_type": kind, **{key: value for key, value in content.items() if key != "transient"}}
        last = self.outputs[-1] if self.outputs else {}
        if kind == "stream" and last.get("output_type") == kind and last.get("name") == output.get("name"):
            last["text"] += output["text"]
        else:
            self.outputs.append(copy.deepcopy(output))


class OutputWidgets:
    """Those of one kernel. `ours` is how the ids of our requests begin."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._widgets: dict[str, _Widget] = {}

    def hear(self, message: Message) -> bool:
        """Takes an iopub message. True if a widget caught it, so that it is no output of the cell."""
        kind = message["msg_type"]
        if kind.startswith("comm_"):
            self._comm(kind, message["content"])
            return False
        if not message["parent"].startswith(self._ours) or (kind not in _CAUGHT and kind != "clear_output"):
            return False
        # With one inside another, the innermost catches: it asked last.
        catching = [one for one in self._widgets.values() if one.caught_for == message["parent"]]
        if catching:
            catching[-1].catch(message)
        return bool(catching)

    def changed(self) -> list[dict[str, Any]]:
        """comm_msg contents that bring the widgets' new state to the kernel."""
        told = []
        for comm_id, widget in self._widgets.items():
            if widget.changed and not widget.caught_for:
                widget.changed = False
                data = {"method": "update", "state": {"outputs": widget.outputs}, "buffer_paths": []}
                told.append({"comm_id": comm_id, "data": data})
        return told

    def _comm(self, kind: str, content: dict[str, Any]) -> None:
        comm_id = str(content.get("comm_id"))
        data = content.get("data")
        state = data.get("state") if isinstance(data, dict) else None
        if kind == "comm_close":
            self._widgets.pop(comm_id, None)
        elif not isinstance(state, dict):
            return
        elif kind == "comm_open" and (state.get("_model_module"), state.get("_model_name")) == (_MODULE, _MODEL):
            self._widgets[comm_id] = _Widget()
        if comm_id in self._widgets and isinstance(state, dict):
            self._follow(comm_id, state)

    def _follow(self, comm_id: str, state: dict[str, Any]) -> None:
        widget = self._widgets[comm_id]
        if "msg_id" in state:
            # Asked last is last in the order, whoever was made first.
            self._widgets[comm_id] = self._widgets.pop(comm_id)
            widget.caught_for = str(state["msg_id"] or "")
        if isinstance(state.get("outputs"), list | tuple):
            widget.outputs = copy.deepcopy(list(state["outputs"]))
