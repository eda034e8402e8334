"""Restore: what was given out and is missing, copied, moved or changed is put back beside what was written since."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from django.db import transaction

from classroom.errors import MovedOn, NotRestored
from classroom.models import Work
from grading.engine import Unreadable, is_notebook, read, reconcile
from grading.recognise import differences, layout_by, renamed_in
from runtimes import launch as runtimes
from runtimes import storage
from runtimes.agent_replies import AgentError
from runtimes.errors import RuntimesError, StorageError
from runtimes.jupyter import document, notebook_form
from runtimes.models import FileVersion, Runtime, SnapshotFile
from runtimes.trees import keep_version

_log = structlog.get_logger(__name__)


@dataclass
class Restored:
    """Paths that were written, and former names of notebooks that have their own again. Both empty: nothing to do.

    `reopen`: the page shows a notebook that has another name now, or lacks one that is there again."""

    written: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)

    reopen: bool = False


def restore(work: Work) -> Restored:
    """Puts back what the release fixed; of what a student wrote nothing is replaced. Safe to repeat.

    A notebook that is open is edited where it is, so that every page of it sees the change at once; its content before
    that stays as a version. Raises NotRestored, and then what is not restored is as it was.
    """
    done = Restored()
    student = work.release.student
    if student is None:
        return done
    given = {row.path: row.blob_id for row in SnapshotFile.objects.filter(snapshot=student).order_by("path")}
    try:
        document.flush_sync(work.workspace)
        tree = dict(storage.files(work.workspace).values_list("path", "blob_id"))
        for path, now in renamed_in(given, tree).items():
            storage.rename(work.workspace, now, path)
            tree[path] = tree.pop(now)
            done.renamed.append(now)
            done.reopen = True
            done.written.append(path)
        for path, sha256 in given.items():
            if path not in tree:
                storage.write(work.workspace, path, storage.read(sha256), source=storage.Source.RESTORED)
                done.written.append(path)
                done.reopen = done.reopen or is_notebook(path)
            elif is_notebook(path) and tree[path] != sha256 and _mend(work, path, sha256, tree[path]):
                done.written += [path] if path not in done.written else []
        document.flush_sync(work.workspace)
    except StorageError as error:
        raise NotRestored(str(error), why=error.user_message) from error
    _tell(work, done)
    return done


def use_copy(work: Work, path: str, copy: str, sha256: str) -> Restored:
    """The copy with this content and the notebook that is graded change names, so that both are still there.

    Raises MovedOn where the page that offered it is no longer true (also for a second click, which would change them
    back), NotRestored where storage refuses; then nothing has changed.
    """
    try:
        document.flush_sync(work.workspace)
        tree = dict(storage.files(work.workspace).values_list("path", "blob_id"))
        offered = [row for row in differences(work.release.student_id, tree) if row.get("copy") == copy]
        if not any(row["path"] == path and row["sha256"] == sha256 for row in offered):
            raise MovedOn(copy)
        _exchange(work, path, copy)
    except StorageError as error:
        raise NotRestored(str(error), why=error.user_message) from error
    done = Restored([path, copy], [copy], reopen=True)
    _tell(work, done)
    return done


def _exchange(work: Work, one: str, other: str) -> None:
    aside = str(PurePosixPath(one).with_name(f"{secrets.token_hex(8)}.ipynb"))
    with transaction.atomic():
        for old, new in ((one, aside), (other, one), (aside, other)):
            storage.rename(work.workspace, old, new)


def _mend(work: Work, path: str, given: str, there: str) -> bool:
    """Edits one notebook. False if there was nothing to do, or it cannot be read."""
    layout = layout_by(given)
    try:
        notebook = read(storage.read(there))
    except Unreadable:
        return False
    mended = reconcile(layout, notebook)
    if not mended.findings:
        return False
    keep_version(work.workspace, path, there, FileVersion.Source.REPLACED)
    if not document.change_sync(work.workspace, path, _as_content(layout)):
        data = notebook_form.to_bytes(dict(mended.notebook))
        storage.write(work.workspace, path, data, source=storage.Source.RESTORED)
    return True


def _as_content(layout: Any) -> Callable[[Any], Any]:
    return lambda content: reconcile(layout, content).notebook


def _tell(work: Work, done: Restored) -> None:
    """A machine that runs gets the files, too. Storage has them: it is enough to try."""
    runtime = runtimes.live_runtime(work.workspace)
    if not done.written or runtime is None or runtime.state != Runtime.State.READY:
        return
    try:
        async_to_sync(storage.settle)(runtime)
        async_to_sync(storage.push)(runtime, done.written)
    except (AgentError, RuntimesError) as error:
        _log.warning("restored files not pushed", runtime=runtime.name, error=type(error).__name__)
