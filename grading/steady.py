"""A page about one submission, all of it from before or all of it from after a change of what counts for it.

An approved regrade changes a submission in one transaction (version, run, state), but a page reads it in several
queries, and no transaction: on SQLite that would make it wait for whoever writes.
"""

from __future__ import annotations

from collections.abc import Callable

from grading.models import Submission


def steady[T](submission: Submission, read: Callable[[Submission], T]) -> T:
    """What `read` finds; it is read again where another run has come to count meanwhile. Two queries more.

    `submission` then says its state and the version that counts as they were when it was read.
    """
    before = _follow(submission)
    while True:
        found = read(submission)
        after = _follow(submission)
        if after == before:
            return found
        before = after


def _follow(submission: Submission) -> tuple[object, ...]:
    """What counts now, in one query; the submission is made to say the same."""
    rows = Submission.objects.filter(pk=submission.pk, autogradings__current=True)
    counting = rows.values_list("autogradings", "correction_id", "state").first()
    if counting is None:
        return ()
    _run, submission.correction_id, submission.state = counting
    return counting
