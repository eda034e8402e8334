"""Codes of problems and failures to sentences for people: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

#: What a teacher reads in a release's report.
PROBLEMS: Mapping[str, Promise] = {
    "no_notebooks": _("There is no notebook among the files. Upload at least one .ipynb file, not inside a folder."),
    "notebook_in_folder": _("A notebook inside a folder is neither released nor graded. Move it out of the folder."),
    "empty": _("The file is empty. Upload it again."),
    "not_utf8": _("The file is not a text file in UTF-8. Save it again in Jupyter and upload it."),
    "not_json": _("The file is not a notebook: it is not valid JSON. Save it again in Jupyter and upload it."),
    "not_a_notebook": _("The file is not a notebook: it has no list of cells. Save it again in Jupyter and upload it."),
    "nbformat_old": _("The notebook format %(version)s is too old. Open it in Jupyter, save it, and upload it again."),
    "nbformat_new": _(
        "The notebook format %(version)s is newer than this site knows (%(newest)s). Save it in format %(newest)s."
    ),
    "bad_header": _("The course's header or footer notebook cannot be used: %(message)s"),
    "no_kernelspec": _("The notebook names no kernel. It runs with Python 3."),
    "unknown_kernel": _(
        "The notebook's kernel “%(kernel)s” is not in the kernels' environment. There are: %(kernels)s. Choose one of "
        "them, or ask your administrator to add it."
    ),
    "stub_written": _(
        "nbgrader has no words to put in place of a solution in the language “%(language)s” and would refuse the "
        "notebook. Students find “%(stub)s” there; another code_stub in the course's settings is used instead."
    ),
    "other_kernel": _(
        "The notebook runs with the kernel “%(kernel)s”. nbgrader's rules are the same, but whether code of a student "
        "replaced what tests rely on is looked at in Python only."
    ),
    "no_cells": _("The notebook has no cells."),
    "nothing_graded": _("The notebook has no cell with points. It is released, and nothing in it is scored."),
    "duplicate_grade_id": _("The id is used already in cell %(first)s. Give one of the two cells another id."),
    "no_grade_id": _("The cell is marked for grading and has no id. Give it one."),
    "no_points": _("The cell is marked for grading and has no points. Give it points; 0 is allowed."),
    "schema_old": _(
        "The cell's nbgrader metadata has version %(version)s, and version %(wanted)s is needed. "
        "Run “nbgrader update” on the notebook and upload it again."
    ),
    "schema_new": _(
        "The cell's nbgrader metadata has version %(version)s, which is newer than this site knows (%(wanted)s). "
        "Create the notebook with an older nbgrader, or ask your administrator to update."
    ),
    "bad_metadata": _("The cell's nbgrader metadata is not valid: %(message)s"),
    "bad_region": _("The markers in this cell do not fit: %(message)s"),
    "autotest_failed": _("The tests could not be written, because the solution did not run: %(message)s"),
    "cannot_convert": _("nbgrader cannot make the student's version: %(message)s"),
}

#: What a student and a TA read about a notebook that could not be graded to its end.
FAILURES: Mapping[str, Promise] = {
    "no_notebook": _(
        "None of the assignment's notebooks was handed in (%(wanted)s). Rename yours, or download the assignment "
        "again, and hand it in once more."
    ),
    "empty": _("The notebook file is empty. Open it, save it, and hand it in again."),
    "not_utf8": _("The notebook file is damaged: it is no text. Open it in Jupyter, save it, and hand it in again."),
    "not_json": _(
        "The notebook file is damaged: it is not valid JSON. Restore an earlier version and hand it in again."
    ),
    "not_a_notebook": _("The file is not a notebook. Download the assignment again and put your answers there."),
    "nbformat_old": _("The notebook's format is too old. Open it in Jupyter, save it, and hand it in again."),
    "nbformat_new": _("The notebook's format is too new for this site. Save it in format %(newest)s."),
    "metadata_version": _(
        "A graded cell was copied, or its hidden settings were lost. Remove the copy, or restore the cell, and hand in "
        "again."
    ),
    "metadata": _("The hidden settings of a graded cell were changed. Restore the notebook and hand it in again."),
    "cells_changed": _(
        "A graded cell is no longer what it was. Restore the notebook, put your answers back, hand in again."
    ),
    "broken_notebook": _("The notebook cannot be read. Restore an earlier version and hand it in again."),
    "too_long": _(
        "The notebook ran longer than the %(seconds)s seconds it may take, and was stopped. Look for endless loops."
    ),
    "too_much_output": _(
        "The notebook printed more than it may (%(limit)s bytes), and was stopped. Print less and try again."
    ),
    "output_lost": _("A cell printed more at once than can be taken (%(limit)s bytes). Print less and try again."),
    "files_refused": _(
        "The files cannot be put beside the notebook: too many, too large, or with names that are not allowed. Remove "
        "what is not needed and hand in again."
    ),
    "unresponsive": _("A cell could not be stopped after its time was up. Look for code that ignores interrupts."),
    "unreadable_output": _("A cell's output could not be read. Remove unusual output and try again."),
    "points_exceeded": _("A test gave more points than it has. This is for your teacher to look at."),
    "kernel_died": _("The kernel stopped while a cell was running, so the notebook was not run to its end."),
    "kernel_exited": _("The code ended the kernel (as os._exit does), so the notebook was not run to its end."),
    "kernel_killed": _("The code was stopped by the system, so the notebook was not run to its end."),
    "kernel_out_of_memory": _(
        "The notebook needed more memory than it may use, and was stopped. Use less data at a time."
    ),
    "kernel_deadline": _("The notebook ran longer than it may, and was stopped. Look for endless loops."),
    "kernel_disk_full": _("The notebook wrote more files than it may, and was stopped. Write less to disk."),
    "no_kernel": _("The notebook's kernel “%(kernel)s” did not start. This is for your administrator to look at."),
    "gave_up": _("Grading was interrupted several times. Your teacher can start it again."),
}

#: What a student reads about a notebook that is not as it was given out. `what` is a word of `KINDS`.
FINDINGS: Mapping[str, Promise] = {
    "missing_cell": _("%(what)s “%(grade_id)s” is missing."),
    "copied_cell": _("Cell %(cell)s is a copy of the graded cell “%(grade_id)s”. Only one of them counts."),
    "foreign_cell": _("Cell %(cell)s (“%(grade_id)s”) comes from another assignment and is not graded."),
    "moved_cell": _("%(what)s “%(grade_id)s” is not in its place: it is cell %(cell)s now."),
    "retyped_cell": _("%(what)s “%(grade_id)s” (cell %(cell)s) has another cell type than it was given out with."),
    "renamed_cell": _("%(what)s “%(grade_id)s” (cell %(cell)s) has lost its name."),
    "settings_changed": _("%(what)s “%(grade_id)s” (cell %(cell)s) has other hidden settings than it had."),
    "rewritten_cell": _("%(what)s “%(grade_id)s” (cell %(cell)s) was changed, and changes there do not count."),
    "missing_notebook": _("The notebook “%(path)s” is missing."),
    "renamed_notebook": _("The notebook “%(path)s” is called “%(now)s” now."),
    "moved_notebook": _("The notebook “%(path)s” is in another folder now: “%(now)s”."),
    "missing_file": _("The file “%(path)s” is missing."),
    "moved_file": _("The file “%(path)s” is not in its place; “%(now)s” is there."),
    "answers_elsewhere": _("“%(copy)s” has answers that “%(path)s” lacks: %(grade_ids)s. Only “%(path)s” is graded."),
    "other_answers": _(
        "“%(copy)s” is a copy of “%(path)s” with other answers: %(grade_ids)s. Only “%(path)s” is graded."
    ),
    "unreadable_notebook": _("The notebook “%(path)s” cannot be read."),
}

#: What a TA reads about changes that were made before grading, and where nbgrader would have scored otherwise.
NOTES: Mapping[str, Promise] = {
    "missing_cell": _(
        "%(what)s “%(grade_id)s” was missing and was put back. nbgrader would have left it without a score, for a "
        "person to look at."
    ),
    "copied_cell": _(
        "Cell %(cell)s is a copy of “%(grade_id)s” and was treated as a plain cell. nbgrader would have refused the "
        "notebook."
    ),
    "foreign_cell": _(
        "Cell %(cell)s (“%(grade_id)s”) is from another assignment and was treated as a plain cell. nbgrader would "
        "have refused the notebook."
    ),
    "moved_cell": _(
        "%(what)s “%(grade_id)s” stood as cell %(cell)s and was put back in its place. nbgrader would have run it "
        "there."
    ),
    "retyped_cell": _(
        "%(what)s “%(grade_id)s” (cell %(cell)s) had another cell type, and was given its own again. nbgrader does "
        "that too, but refuses the notebook where its format is older than 4.5."
    ),
    "renamed_cell": _(
        "%(what)s “%(grade_id)s” (cell %(cell)s) had lost its name and was recognised. nbgrader would have refused "
        "the notebook, or left the cell without a score."
    ),
    "settings_changed": _(
        "The hidden settings of “%(grade_id)s” (cell %(cell)s) were changed, and were put back. nbgrader puts points "
        "and locks back, too, and refuses the notebook where a test's own flags or its version were changed."
    ),
    "rewritten_cell": _(
        "The locked cell “%(grade_id)s” (cell %(cell)s) was changed. It was put back; what stood there is kept below "
        "it. nbgrader puts it back, too, and keeps nothing."
    ),
    "renamed_notebook": _("The notebook was handed in as “%(path)s”. nbgrader would not have found it."),
    "graded_after_failure": _(
        "“%(failed)s” had failed before it. nbgrader would have stopped there and have no scores for this notebook."
    ),
    "not_reached": _(
        "nbgrader stops at the first notebook that fails, here “%(failed)s”, so this one has no scores and waits for a "
        "person."
    ),
    "moved_notebook": _(
        "The notebook was handed in as “%(path)s”, in a folder. nbgrader would not have found it there."
    ),
    "answers_elsewhere": _(
        "“%(copy)s”, handed in beside it, has answers that “%(path)s” lacks: %(grade_ids)s. As with nbgrader, "
        "“%(path)s” was graded and the copy was not. Look at the copy."
    ),
    "other_answers": _(
        "“%(copy)s”, handed in beside it, has other answers: %(grade_ids)s. As with nbgrader, “%(path)s” was graded "
        "and the copy was not."
    ),
    "warning_forgiven": _(
        "“%(grade_id)s” has %(score)s points although a warning was printed on stderr. nbgrader would have given 0 "
        "here."
    ),
    "kernel_replaced": _(
        "The kernel was killed, crashed or was lost while the notebook ran. It was run once more on a fresh one. "
        "nbgrader would have no scores for it."
    ),
    "scored_in_part": _(
        "The run was stopped in cell %(cell)s. What ran before it keeps its scores, and the rest waits for a person; "
        "nbgrader would score nothing."
    ),
    "imported": _("The scores are nbgrader's own, imported from its gradebook."),
    "kernel_changed": _(
        "Before cell %(cell)s the notebook's code had replaced what tests rely on: %(names)s. Look at what it does."
    ),
    "kernel_unanswered": _(
        "Before cell %(cell)s the kernel no longer said what tests rely on. Look at what the notebook's code does."
    ),
    "equal_to_anything": _(
        "The notebook has objects that are equal to anything, or to anything of a kind: %(names)s. Tests that compare "
        "with == then mean nothing."
    ),
    "negative_credit": _(
        "The test “%(grade_id)s” ended with a negative number, for which nbgrader gives all points. Look at why."
    ),
    "no_number": _(
        "The test “%(grade_id)s” ended with no number of points (“%(shown)s”), for which nbgrader gives all. Look at "
        "why."
    ),
    "number_from_elsewhere": _(
        "The test “%(grade_id)s” has its points from a number (“%(shown)s”) that is not what it should end with. Look "
        "at where it comes from."
    ),
    "output_changed_later": _(
        "The output of cell %(cell)s was changed by code that ran after a hidden test. Students see it as it was "
        "before."
    ),
    "hidden_test_quoted": _("The output of cell %(cell)s quotes a hidden test. Students do not see it."),
    "skip_tag_removed": _(
        "Cell %(cell)s carried a tag that would have kept it from running. It was run. nbgrader would have left it "
        "out, and given all points for a test."
    ),
}

#: The kinds of released cells, as a sentence begins.
KINDS: Mapping[str, Promise] = {
    "tests": _("The test cell"),
    "answer": _("The answer cell"),
    "task": _("The task cell"),
    "text": _("The locked cell"),
}

#: Notes for which a person should look, whatever the scores say.
SUSPICIONS = frozenset(
    {
        "kernel_changed",
        "kernel_unanswered",
        "equal_to_anything",
        "negative_credit",
        "no_number",
        "number_from_elsewhere",
        "answers_elsewhere",
        "output_changed_later",
        "hidden_test_quoted",
    }
)

UNKNOWN = _("Something went wrong that has no name yet. Tell your administrator: %(code)s")


def explain(texts: Mapping[str, Promise], row: Mapping[str, Any]) -> str:
    """The sentence for a stored problem, failure or note, in the reader's language."""
    params = {key: _shown(value) for key, value in {**row, **row.get("params", {})}.items()}
    params["what"] = str(KINDS.get(params.get("kind", ""), KINDS["text"]))
    text = str(texts.get(str(row.get("code")), UNKNOWN))
    return text % {"code": "", "cell": "", **params}


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        # Translators: separates file names in a list.
        return gettext(", ").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
