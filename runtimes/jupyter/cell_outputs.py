"""What a running cell puts out, written into its shared document.

The front end (JupyterLab 4.6, `CodeCellModel._onSharedModelChanged`) reads changes of outputs in a way of its own: text
changes are taken for the last output, deletions for its end, and insertions are appended, wherever they are. So text is
only ever changed at the end of the last output, by inserting before deleting, and an output in the middle is replaced
by writing it and all that follow anew.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from jupyter_ydoc.utils import cast_all
from pycrdt import Array, Map, Text

from runtimes.jupyter.output_limits import Budget, fitting, notebook_bytes, short_error, size_of
from runtimes.jupyter.replica import Replica
from runtimes.jupyter.stream_text import needs_overwriting, overwritten

Message = dict[str, Any]


def find_cell(replica: Replica, cell_id: str) -> Map[Any] | None:
    """The code cell of that id, or None."""
    for cell in replica.view.ycells:
        if cell["id"] == cell_id:
            return cell if cell["cell_type"] == "code" else None
    return None


class CellOutputs:
    """The outputs of one run of one cell. A cell that is deleted meanwhile takes no more; one that moves keeps them."""

    def __init__(self, replica: Replica, cell_id: str) -> None:
        self.replica = replica
        self.cell_id = cell_id
        self._clear_first = False
        self._count: float | None = None
        # A carriage return ended the stream so far: what comes next writes over its last line.
        self._returned = False
        self._budget = Budget()
        self._told: set[str] = set()
        self._failed = False

    def cell(self) -> Map[Any] | None:
        """The cell in the document, while it is there."""
        return find_cell(self.replica, self.cell_id)

    def begin(self) -> str | None:
        """Empties the outputs and marks the cell as running. Returns its source; None if the cell is gone."""
        cell = self.cell()
        if cell is None:
            return None
        self._budget = Budget(notebook_bytes(self.replica.view.ycells, without=self.cell_id))
        with self.replica.doc.transaction():
            if len(_outputs(cell)):
                del _outputs(cell)[:]
            cell["execution_count"] = None
            cell["execution_state"] = "running"
            # Untrusted cells show widgets as text; on a workspace's own origin trust means nothing else.
            cell["metadata"]["trusted"] = True
        return str(cell["source"])

    def mark(self, state: str) -> None:
        """`running` shows as [*], `idle` as the count."""
        cell = self.cell()
        if cell is None:
            return
        with self.replica.doc.transaction():
            # Not before: the front end takes a cell that gets its count for done (`CodeCell.onStateChanged`).
            if state == "idle" and self._count is not None:
                cell["execution_count"], self._count = self._count, None
            if cell.get("execution_state") != state:
                cell["execution_state"] = state

    def write(self, messages: Iterable[Message]) -> None:
        """Puts iopub messages into the document, as one change of it. Those that are no output change nothing."""
        merged = _merged(messages)
        cell = self.cell() if merged else None
        if cell is None:
            return
        with self.replica.doc.transaction():
            for message in merged:
                self._write(cell, message["msg_type"], message["content"])

    def add_error(self, name: str, text: str) -> None:
        """An error output of our own."""
        content = {"ename": name, "evalue": text, "traceback": [f"\x1b[0;31m{name}\x1b[0m: {text}"]}
        self.write([{"msg_type": "error", "content": content}])

    def add_note(self, text: str) -> None:
        """A line on the cell's stderr."""
        self.write([{"msg_type": "stream", "content": {"name": "stderr", "text": text + "\n"}}])

    def _write(self, cell: Map[Any], kind: str, content: dict[str, Any]) -> None:
        outputs = _outputs(cell)
        if kind == "clear_output":
            self._clear_first = bool(content.get("wait"))
            if not self._clear_first:
                self._clear(outputs)
        elif kind == "execute_input":
            self._count = float(content["execution_count"])
        else:
            if self._clear_first:
                self._clear_first = False
                self._clear(outputs)
            self._add(outputs, kind, content)

    def _clear(self, outputs: Array[Any]) -> None:
        self._budget.clear()
        self._told.clear()
        if len(outputs):
            del outputs[:]

    def _add(self, outputs: Array[Any], kind: str, content: dict[str, Any]) -> None:
        if kind == "stream":
            self._stream(outputs, str(content["name"]), str(content["text"]))
        elif kind == "error":
            self._rich(outputs, short_error(content), first=not self._failed)
            self._failed = True
        else:
            self._rich(outputs, rich_output(kind, content))

    def _rich(self, outputs: Array[Any], output: dict[str, Any], *, first: bool = False) -> None:
        """first: the error that ended a cell is shown, whatever went before."""
        notice = self._budget.add_rich(size_of(output))
        if notice and not first:
            self._tell(outputs, notice)
        else:
            outputs.append(Map(output))

    def _stream(self, outputs: Array[Any], name: str, text: str) -> None:
        last = outputs[len(outputs) - 1] if len(outputs) else None
        text = self._room(text)
        grown = 0
        if not text:
            pass
        elif (before := _text_of(last, name)) is not None:
            grown = _append(before, text, over=self._returned or needs_overwriting(text))
        else:
            shown = overwritten(text)
            grown = len(shown.encode())
            outputs.append(Map({"output_type": "stream", "name": name, "text": Text(shown)}))
        self._returned = text.endswith("\r")
        if notice := self._budget.add_text(grown):
            self._tell(outputs, notice)

    def _room(self, text: str) -> str:
        """As much of `text` as the cell still takes. What overwrites what is there needs no room."""
        room = self._budget.text_room()
        return text if len(text) <= room // 4 else text.encode()[:room].decode("utf-8", "ignore")

    def _tell(self, outputs: Array[Any], notice: str) -> None:
        if notice not in self._told:
            self._told.add(notice)
            outputs.append(Map({"output_type": "stream", "name": "stderr", "text": Text(f"\n{notice}\n")}))


def _outputs(cell: Map[Any]) -> Array[Any]:
    outputs = cell.get("outputs")
    if not isinstance(outputs, Array):
        outputs = cell["outputs"] = Array()
    return outputs


def _merged(messages: Iterable[Message]) -> list[Message]:
    """The messages that are about outputs, neighbouring pieces of one stream made one."""
    merged: list[Message] = []
    for message in messages:
        kind, content = message["msg_type"], message["content"]
        before = merged[-1] if merged else None
        if kind == "stream" and before and before["msg_type"] == kind and before["content"]["name"] == content["name"]:
            before["content"]["parts"].append(content["text"])
        elif kind == "stream":
            merged.append({"msg_type": kind, "content": {"name": content["name"], "parts": [content["text"]]}})
        elif kind in ("clear_output", "execute_input", "error", "display_data", "execute_result"):
            merged.append(message)
    for message in merged:
        if message["msg_type"] == "stream":
            message["content"]["text"] = "".join(message["content"].pop("parts"))
    return merged


def _text_of(output: Map[Any] | None, name: str) -> Text | None:
    """The text of an output that the stream `name` goes on in."""
    if output is None or output.get("output_type") != "stream" or output.get("name") != name:
        return None
    text = output.get("text")
    return text if isinstance(text, Text) else None


def _append(text: Text, chunk: str, *, over: bool) -> int:
    """Adds to a stream, as a terminal would if `over`. Returns by how many bytes it grew."""
    if not over:
        text += chunk
        return len(chunk.encode())
    last_line = str(text).rpartition("\n")[2]
    before, after = last_line.encode(), overwritten(last_line + chunk)
    end = len(text)  # in bytes of UTF-8, as all indices of a pycrdt Text
    text += after
    del text[end - len(before) : end]
    return len(after.encode()) - len(before)


def rich_output(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """A display as the document holds it; with its display id, by which later messages find it."""
    output = {"output_type": kind, "data": content.get("data", {}), "metadata": content.get("metadata", {})}
    if kind == "execute_result":
        output["execution_count"] = content.get("execution_count")
    if display_id := (content.get("transient") or {}).get("display_id"):
        output["transient"] = {"display_id": display_id}
    # Yjs knows one kind of number; a Python int would reach the page as a BigInt.
    cast_all(output := copy.deepcopy(output), int, float)
    return output


def update_display(replica: Replica, content: dict[str, Any]) -> None:
    """`update_display_data`: replaces every output with that display id in the document, as far as there is room."""
    display_id = str((content.get("transient") or {}).get("display_id") or "")
    content = fitting(replica.view.ycells, content) if display_id else content
    for cell in replica.view.ycells if display_id else ():
        outputs = cell.get("outputs") if cell["cell_type"] == "code" else None
        if isinstance(outputs, Array):
            _update_in(replica, outputs, display_id, content)


def _update_in(replica: Replica, outputs: Array[Any], display_id: str, content: dict[str, Any]) -> None:
    shown = [at for at, one in enumerate(outputs) if (one.get("transient") or {}).get("display_id") == display_id]
    if not shown:
        return
    rest = [output.to_py() for output in outputs][shown[0] :]
    for at in shown:
        kind = rest[at - shown[0]]["output_type"]
        count = rest[at - shown[0]].get("execution_count")
        rest[at - shown[0]] = rich_output(kind, {**content, "execution_count": count})
    with replica.doc.transaction():
        del outputs[shown[0] : len(outputs)]
        outputs.extend([_shared(output) for output in rest])


def _shared(output: dict[str, Any]) -> Map[Any]:
    if output["output_type"] == "stream":
        output = {**output, "text": Text(output["text"])}
    return Map(output)
