"""Submissions that attack the grader, through the site's own worker and sandboxes. Each loses alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from grading import feedback
from grading.models import CellScore, Submission
from runtimes import storage
from runtimes.models import MIB
from tests.grading.corpus import answered, cell, dump, edited_path, parse
from tests.grading.course_of_one import CELLS, PYTHON, TESTS
from tests.grading.live_steps import hand_in, line_item, published, rows_and_files, sandboxes, until_graded
from tests.live import LiveSite

pytestmark = [pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(1800)]

MARK = "sleep 98765"
RIGHT = "answer = 42\n"
DIARY, PLANTED = "a page of somebody's diary", "planted-for-others"
FOUND = "print('FOUND:' + repr(found))"
WALK = """
import os
found, paths = [], []
for top in ('..', '/'):
    for folder, folders, names in os.walk(top):
        folders[:] = [f for f in folders if f not in 'proc sys usr opt lib lib64 bin sbin dev'.split()]
        paths += [os.path.join(folder, name) for name in names]
"""
# The needle is put together, or the attack would find its own source.
HIDDEN = """
needle = b'hidden ' + b'reason'
for path in paths:
    try:
        if needle in open(path, 'rb').read(10_000_000):
            found.append(path)
    except OSError:
        pass
"""
SEARCH = HIDDEN.replace("b'hidden ' + b'reason'", f"{DIARY[:9].encode()!r} + {DIARY[9:].encode()!r}")
SEARCH_GIVEN = HIDDEN.replace("b'hidden ' + b'reason'", "b'what is ' + b'given'")
COPY = """
import os, signal
hidden = next(text for text in reversed(In) if 'hidden ' 'reason' in text)
code = hidden[35:70].encode().hex()
"""
SNITCH = """
class Snitch:
    def __eq__(self, other):
        print(In[-1][35:70].encode().hex())
        return False
answer = Snitch()
"""
COPIED = TESTS[35:70].encode().hex()
PLANT = f"""
import os
for top in ('..', '/'):
    for folder, folders, names in os.walk(top):
        try:
            open(os.path.join(folder, {PLANTED!r}), 'w').close()
        except OSError:
            pass
"""
PROCESSES = """
import os
found = []
for number in filter(str.isdigit, os.listdir('/proc')):
    try:
        line = open(f'/proc/{number}/cmdline').read()
    except OSError:
        continue
    found += [word for word in ('manage.py', 'celery', 'uvicorn', 'redis', 'postgres') if word in line]
"""
#: student → what stands in their answer cell.
ATTACKS = {
    "plants": RIGHT + PLANT,
    "honest": RIGHT + f"# {DIARY}\n",
    "reads_files": RIGHT + WALK + HIDDEN + FOUND,
    "reads_others": RIGHT + WALK + SEARCH + FOUND,
    "sees_processes": RIGHT + PROCESSES + FOUND,
    "reads_environment": RIGHT + "import os\nfound = sorted(os.environ)\n" + FOUND,
    "reads_database": RIGHT + WALK + "found = [p for p in paths if p.endswith(('sqlite3', '.db', '.key'))]\n" + FOUND,
    "reads_parent": RIGHT
    + "found = []\ntry:\n    found = open('/proc/1/environ').read()\nexcept OSError:\n    pass\n"
    + FOUND,
    "network": RIGHT
    + "import socket\nfound = []\nfor port in (PORT, 22, 80):\n    try:\n        "
    + "socket.create_connection(('127.0.0.1', port), 1)\n        found.append(port)\n"
    + "    except OSError:\n        pass\n"
    + FOUND,
    "daemon": RIGHT + f"import subprocess\nsubprocess.Popen({MARK.split()!r}, start_new_session=True)\n",
    "exit": "import os\nos._exit(0)",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "long_line": RIGHT + "print('x' * 5_000_000)",
    "longer_line_than_a_message": RIGHT + "print('x' * 70_000_000)",
    "print_for_ever": RIGHT + "while True: print('x' * 10_000)",
    "memory": RIGHT + "hog = [bytearray(50_000_000) for _ in range(60)]",
    "forks": RIGHT + "import os\ntry:\n    for _ in range(2000):\n        if os.fork() == 0:\n            "
    "import time; time.sleep(60)\nexcept OSError:\n    pass",
    "ignores_interrupts": RIGHT + "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "slow": RIGHT,
    "skip_tag": "answer = 0",
    "prints_tests": RIGHT.replace("42", "41"),
    # Each copies the hidden test, in a code of its own, to where its author might read it.
    "walks_to_what_is_there": RIGHT + WALK + SEARCH_GIVEN + FOUND,
    "encodes_tests": RIGHT,
    "updates_display": RIGHT + "display('x', display_id='q')",
    "prints_who_asks": SNITCH,
    "tells_by_file": RIGHT,
    "tells_the_next_kernel": RIGHT + "import os\nprint(os.listdir('.'))",
    "hijack": RIGHT,
    "link": RIGHT + "import os\nos.symlink('/etc/passwd', 'stolen.txt')\nos.symlink('/', 'stolen')",
    "fills_disk": RIGHT + "with open('big', 'wb') as f:\n    for _ in range(200): f.write(bytes(10_000_000))",
    # Handed in last: it is graded when what the first one planted would be there.
    "finds_planted": RIGHT + WALK + f"found = [p for p in paths if p.endswith({PLANTED!r})]\n" + FOUND,
}


def _skip(notebook) -> None:
    cell(notebook, "tests").metadata["tags"] = ["skip-execution"]


def _sleep_often(notebook) -> None:
    notebook.cells[1:1] = [new_code_cell("import time\ntime.sleep(2)") for _ in range(30)]


def _at_the_end(source: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells.append(new_code_cell(source))


EDITS = {
    "skip_tag": _skip,
    "slow": _sleep_often,
    "prints_tests": _at_the_end("print(In)"),
    "encodes_tests": _at_the_end(COPY + "print(code)"),
    "updates_display": _at_the_end(
        COPY + "from IPython.display import update_display\nupdate_display(code, display_id='q')"
    ),
    "tells_by_file": _at_the_end(COPY + "open(code, 'w').close()"),
    "tells_the_next_kernel": _at_the_end(COPY + "open(code, 'w').close()\nos.kill(os.getpid(), signal.SIGKILL)"),
}


@pytest.fixture(scope="module")
def site(live: LiveSite) -> Iterator[LiveSite]:
    with rows_and_files(live):
        yield live


def _test(grade_id: str) -> NotebookNode:
    about = {"grade": True, "solution": False, "locked": True, "schema_version": 3, "grade_id": grade_id, "points": 1}
    return new_code_cell("assert True", metadata={"nbgrader": about})


@pytest.fixture(scope="module")
def attacks(site: LiveSite) -> dict[str, Submission]:
    """Everything handed in at once and graded, two at a time."""
    second = [new_code_cell("import os\nfound = sorted(os.listdir('.'))\n" + FOUND), _test("later")]
    first = [_test("before"), *CELLS]
    files = {"p.ipynb": dump(new_notebook(cells=first, metadata=PYTHON)), "given.txt": b"what is given",
             "q.ipynb": dump(new_notebook(cells=second, metadata=PYTHON))}  # fmt: skip
    small = {"memory_bytes": 500 * MIB, "home_bytes": 64 * MIB, "processes": 64}
    item = line_item(
        "attacks",
        profile=small,
        cell_timeout=timedelta(seconds=5),
        wall_timeout=timedelta(seconds=45),
        output_bytes=MIB,
    )
    made = published(site, item, files)
    released = storage.read_snapshot(made.student)
    submissions = {}
    for student, source in ATTACKS.items():
        work = answered(released, {"answer": source.replace("PORT", str(site.port))})
        if student in EDITS:
            work = edited_path(work, "p.ipynb", EDITS[student])
        if student == "hijack":
            evil = b"import os; os._exit(3)"
            work |= {"ipykernel_launcher.py": evil, "ipykernel/__init__.py": evil, "sitecustomize.py": evil}
        submissions[student] = hand_in(made, f"attack-{student}", work)
    until_graded(site, list(submissions.values()))
    return submissions


def score(submission: Submission) -> object:
    row = CellScore.objects.get(autograding__submission=submission, autograding__current=True, cell__grade_id="tests")
    return row.auto_score


def scores(submission: Submission) -> dict[str, object]:
    rows = CellScore.objects.filter(autograding__submission=submission, autograding__current=True)
    return dict(rows.exclude(cell__kind="answer").values_list("cell__grade_id", "auto_score"))


#: What ran before the end has its score, the written answer was left as it was, the other notebook is graded.
ENDED = {"before": 1, "tests": None, "why": 0, "later": 1}


def noted(submission: Submission) -> set[str]:
    return {note["code"] for note in submission.autogradings.get(current=True).notes}


def failures(submission: Submission) -> dict[str, str]:
    return {f["notebook"]: f["code"] for f in submission.autogradings.get(current=True).failures}


def found(submission: Submission, path: str = "p.ipynb") -> str:
    """What an attack printed after FOUND:."""
    notebook = parse(storage.read_snapshot(submission.autogradings.get(current=True).result)[path])
    text = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    return text.split("FOUND:", 1)[1].strip()


def test_honest_work_beside_all_of_them_has_full_marks(attacks) -> None:
    assert score(attacks["honest"]) == 3
    assert failures(attacks["honest"]) == {}


@pytest.mark.parametrize("student", ["reads_files", "reads_others", "reads_database", "sees_processes", "network"])
def test_nothing_of_others_and_no_hidden_test_is_found(student: str, attacks) -> None:
    assert found(attacks[student]) == "[]"
    assert score(attacks[student]) == 3


def test_what_is_planted_everywhere_is_found_by_nobody(attacks, site: LiveSite) -> None:
    assert score(attacks["plants"]) == 3
    assert found(attacks["finds_planted"]) == "[]"
    for place in (site.folder, Path("/tmp"), Path("/dev/shm")):
        assert not list(place.rglob(PLANTED) if place == site.folder else place.glob(PLANTED))


def test_the_environment_holds_nothing_of_the_site(attacks, site: LiveSite) -> None:
    names = found(attacks["reads_environment"])
    for bad in ("SECRET", "DATA_DIR", "DATABASE", "DJANGO", "REDIS", "GOOGLE", "MASTER"):
        assert bad not in names
    assert "NBGRADER_EXECUTION" in names
    assert str(site.folder) not in found(attacks["reads_parent"])


def test_nothing_outlives_its_grading(attacks, site: LiveSite) -> None:
    assert score(attacks["daemon"]) == 3
    site.until(lambda: not sandboxes(site), "no sandbox is left")
    assert not [line for line in _command_lines() if MARK in line]


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


@pytest.mark.parametrize(
    ("student", "codes"),
    [
        ("exit", {"kernel_exited"}),
        ("segfault", {"kernel_killed"}),
        ("long_line", {"too_much_output"}),
        # The message is dropped on its way; a slow machine meets the cell's time limit before that.
        ("longer_line_than_a_message", {"output_lost", "unresponsive", "kernel_out_of_memory"}),
        # The kernel collects what it cannot send fast enough; which limit it meets first is a race.
        ("print_for_ever", {"too_much_output", "output_lost", "kernel_out_of_memory"}),
        ("ignores_interrupts", {"unresponsive"}),
        ("slow", {"too_long"}),
    ],
)
def test_a_notebook_that_breaks_out_of_its_limits_fails_alone_with_a_reason(student: str, codes, attacks) -> None:
    submission = attacks[student]
    assert set(failures(submission)) == {"p"}
    assert failures(submission)["p"] in codes
    # nbgrader has no score at all: here what ran before has its own, the rest is for a person, and the other notebook
    # was graded.
    assert scores(submission) == ENDED
    assert submission.state == Submission.State.FAILED
    assert "given.txt" in found(submission, "q.ipynb")
    again = {"kernel_replaced"} if student == "segfault" else set()
    assert noted(submission) == {"scored_in_part", "graded_after_failure"} | again
    kept = storage.read_snapshot(submission.autogradings.get(current=True).result)
    assert json.loads(kept["p.ipynb"])["cells"]


def test_memory_is_limited_from_outside_and_ends_that_notebook_alone(attacks) -> None:
    found = attacks["memory"]
    if "MemoryError" in _text(found):
        # Where no control group counts it, the cell hears of the limit itself.
        assert (failures(found), scores(found)["tests"], scores(found)["later"]) == ({}, 3, 1)
    else:
        assert failures(found) == {"p": "kernel_out_of_memory"}
        assert scores(found) == ENDED
        # It would do the same again.
        assert noted(found) == {"scored_in_part", "graded_after_failure"}


def test_forks_end_at_the_limit_and_cost_nobody_anything(attacks) -> None:
    """The cell goes on without more of them: its points are kept, and the other notebook is graded."""
    assert (failures(attacks["forks"]), score(attacks["forks"])) == ({}, 3)
    assert attacks["forks"].state != Submission.State.FAILED
    assert "given.txt" in found(attacks["forks"], "q.ipynb")


def test_a_full_disk_is_that_students_alone_and_is_said(attacks) -> None:
    assert "No space left on device" in _text(attacks["fills_disk"])
    assert score(attacks["fills_disk"]) == 3
    # What filled it is more than may be carried to the other notebook, which is left to a person.
    assert failures(attacks["fills_disk"]) == {"q": "files_refused"}
    assert attacks["fills_disk"].state == Submission.State.FAILED


def _text(submission: Submission) -> str:
    kept = storage.read_snapshot(submission.autogradings.get(current=True).result)
    return kept["p.ipynb"].decode()


def test_a_tag_does_not_keep_a_test_from_running(attacks) -> None:
    assert score(attacks["skip_tag"]) == 0
    notes = attacks["skip_tag"].autogradings.get(current=True).notes
    assert notes == [{"code": "skip_tag_removed", "cell": 3, "notebook": "p"}]


def test_files_named_like_the_kernels_own_change_nothing(attacks) -> None:
    assert score(attacks["hijack"]) == 3
    assert failures(attacks["hijack"]) == {}


def test_a_link_is_neither_kept_nor_carried_to_the_next_notebook(attacks) -> None:
    assert score(attacks["link"]) == 3
    kept = storage.read_snapshot(attacks["link"].autogradings.get(current=True).result)
    assert not [path for path in kept if "stolen" in path]
    assert b"root:x:0:0" not in b"".join(kept.values())
    assert "stolen" not in found(attacks["link"], "q.ipynb")
    assert "given.txt" in found(attacks["link"], "q.ipynb")


def test_the_walk_finds_what_is_there(attacks) -> None:
    """Without it, that the walk finds no hidden test would say nothing."""
    assert "given.txt" in found(attacks["walks_to_what_is_there"])


def _seen(submission: Submission, **options: bool) -> str:
    """Everything that a page shows of the run."""
    shown = feedback.cells(submission, **options)
    return "".join(f"{c.rendered.execution_count}{[o.document for o in c.rendered.outputs]}{c.marked}" for c in shown)


@pytest.mark.parametrize(
    "student", ["prints_tests", "encodes_tests", "updates_display", "prints_who_asks", "tells_by_file"]
)
def test_a_student_who_copies_the_hidden_test_does_not_read_it_in_the_feedback(student: str, attacks) -> None:
    for_teachers, for_students = _seen(attacks[student], for_grader=True), _seen(attacks[student])
    assert COPIED in for_teachers or "hidden reason" in for_teachers, "the attack itself failed"
    assert COPIED not in for_students
    assert "hidden reason" not in for_students


def test_files_of_a_kernel_that_was_killed_are_not_there_for_the_next_one(attacks) -> None:
    submission = attacks["tells_the_next_kernel"]
    assert {"kernel_replaced"} <= {note["code"] for note in submission.autogradings.get(current=True).notes}
    assert "given.txt" in _seen(submission, for_grader=True)
    assert COPIED not in _seen(submission, for_grader=True)


def test_a_result_keeps_nothing_but_notebooks_and_records(attacks) -> None:
    """What code wrote while it was graded can be downloaded by nobody."""
    for submission in attacks.values():
        kept = storage.read_snapshot(submission.autogradings.get(current=True).result)
        assert kept.keys() <= {"p.ipynb", "q.ipynb", ".record/p.json", ".record/q.json"}
