"""What cells put out is limited, in one cell and in all together, with a sentence where it ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pycrdt import Doc

from runtimes import storage
from runtimes.jupyter import cell_outputs, notebook_form, output_limits
from runtimes.jupyter.cell_outputs import CellOutputs
from runtimes.jupyter.output_widgets import OutputWidgets
from runtimes.jupyter.replica import Replica
from runtimes.models import MIB, Workspace
from runtimes.trees import Source

KB = 1000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that takes ten kilobytes of outputs."""
    monkeypatch.setattr(output_limits, "MOST_NOTEBOOK_BYTES", 10 * KB)
    monkeypatch.setattr(output_limits, "SMALL_BYTES", 100)


def notebook(cells: int) -> Replica:
    """As much of a replica as outputs need: empty code cells c0, c1, …"""
    doc: Doc[Any] = Doc()
    view = notebook_form.shared("notebook", doc)
    code = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": "", "outputs": [], "execution_count": None}
        for n in range(cells)
    ]
    view.set({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    return cast("Replica", SimpleNamespace(doc=doc, view=view))


def stream(text: str) -> dict[str, Any]:
    return {"msg_type": "stream", "content": {"name": "stdout", "text": text}}


def display(size: int, name: str = "") -> dict[str, Any]:
    content = {"data": {"text/plain": "x" * size}, "metadata": {}, "transient": {"display_id": name} if name else {}}
    return {"msg_type": "display_data", "content": content}


def run(replica: Replica, cell: str, *messages: dict[str, Any]) -> CellOutputs:
    outputs = CellOutputs(replica, cell)
    outputs.begin()
    for message in messages:
        outputs.write([message])
    return outputs


def said(replica: Replica, cell: str) -> str:
    found = cell_outputs.find_cell(replica, cell)
    assert found is not None
    return "".join(str(output.to_py()) for output in found["outputs"])


@pytest.mark.usefixtures("small")
def test_outputs_that_grow_over_many_cells_end_with_one_sentence() -> None:
    replica = notebook(4)
    for cell in ("c0", "c1", "c2", "c3"):
        run(replica, cell, *[stream("x" * 400 + "\n")] * 10)
    assert output_limits.notebook_bytes(replica.view.ycells) < 11 * KB
    assert "left out" not in said(replica, "c1")
    for cell in ("c2", "c3"):
        assert said(replica, cell).count("Clear the outputs of other cells") == 1
    assert said(replica, "c3").count("x") < 10


@pytest.mark.usefixtures("small")
def test_a_cell_that_runs_again_makes_room_and_so_does_another_that_is_cleared() -> None:
    replica = notebook(2)
    run(replica, "c0", stream("x" * 9 * KB))
    for _time in range(3):
        run(replica, "c1", stream("y" * 500))
        assert "left out" not in said(replica, "c1")
    assert "left out" in (run(replica, "c1", stream("y" * 2 * KB)), said(replica, "c1"))[1]
    run(replica, "c0")
    run(replica, "c1", stream("y" * 2 * KB))
    assert "left out" not in said(replica, "c1")


@pytest.mark.usefixtures("small")
def test_pictures_count_and_the_error_that_ends_a_cell_is_shown_all_the_same() -> None:
    replica = notebook(1)
    error = {"msg_type": "error", "content": {"ename": "ValueError", "evalue": "no", "traceback": ["z" * 9 * KB]}}
    run(replica, "c0", display(9 * KB), display(9 * KB), error, error)
    assert said(replica, "c0").count("Clear the outputs of other cells") == 1
    assert said(replica, "c0").count("ValueError") == 1


@pytest.mark.usefixtures("small")
def test_a_display_that_is_updated_does_not_outgrow_the_notebook() -> None:
    replica = notebook(2)
    run(replica, "c0", stream("x" * 8 * KB))
    run(replica, "c1", display(10, "d"))
    cell_outputs.update_display(replica, display(KB, "d")["content"])
    assert "x" * KB in said(replica, "c1")
    cell_outputs.update_display(replica, display(4 * KB, "d")["content"])
    assert "Clear the outputs" in said(replica, "c1")
    cell_outputs.update_display(replica, display(17 * MIB, "d")["content"])
    assert "16 megabytes" in said(replica, "c1")


def test_the_largest_notebook_can_be_written() -> None:
    replica = notebook(40)
    for number in range(40):
        run(replica, f"c{number}", stream("é" * (MIB // 2)))
    data = notebook_form.to_bytes(notebook_form.content_of(replica.view))
    assert 32 * MIB < len(data) < 34 * MIB


def test_what_an_output_widget_catches_is_limited_too() -> None:
    widgets = OutputWidgets("run-")
    state = {"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel", "msg_id": "run-1"}
    opened = {"comm_id": "w", "data": {"state": state}}
    widgets.hear({"msg_type": "comm_open", "parent": "run-1", "content": opened})
    for _time in range(30):
        assert widgets.hear({**stream("x" * 100 * KB), "parent": "run-1"})
    asleep = {"comm_id": "w", "data": {"state": {"msg_id": ""}}}
    widgets.hear({"msg_type": "comm_msg", "parent": "run-1", "content": asleep})
    [told] = widgets.changed()
    outputs = told["data"]["state"]["outputs"]
    assert sum(len(output["text"]) for output in outputs) < 1.1 * MIB
    assert "at most one megabyte" in outputs[-1]["text"]


@pytest.mark.django_db
def test_files_that_code_writes_leave_room_for_what_a_person_types(workspace: Workspace) -> None:
    Workspace.objects.update(quota_bytes=400)
    storage.write(workspace, "by-code.bin", b"x" * 300, source=Source.CODE)
    with pytest.raises(storage.QuotaExceeded):
        storage.write(workspace, "more.bin", b"x", source=Source.CODE)
    storage.write(workspace, "notebook.ipynb", b"y" * 100)
