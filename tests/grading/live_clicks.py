"""A student at the running site, in real requests: signs in, presses Submit, reads the receipt."""

from __future__ import annotations

import re

import httpx
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from classroom import launch
from classroom.demo.people import CAST
from classroom.models import Assignment, Work
from classroom.people.models import User
from grading.models import Autograding, CellScore, Submission
from runtimes import storage
from tests.classroom.work import PS1, published
from tests.grading.corpus import dump, parse
from tests.live import LiveSite
from tests.world import PASSWORD, make_course, make_user

RIGHT = "def squares(n):\n    return [i * i for i in range(n)]\n"
#: Long enough to end something meanwhile; a cell may take longer.
SLOW = RIGHT + "import time\nfor _ in range(40):\n    time.sleep(0.1)\n"
_RECEIPT = re.compile(r"/receipts/([^/\"]+)/")


class Student:
    """One browser. `press` is a click on Submit."""

    def __init__(self, site: LiveSite, assignment: Assignment, user: User) -> None:
        self.work: Work = launch.open_work(assignment, user)
        self.url = site.url
        self._browser = httpx.Client(base_url=site.url, timeout=60)
        self._browser.get("/accounts/login/")
        signed_in = self._browser.post("/accounts/login/", data=self._form(login=user.username, password=PASSWORD))
        assert signed_in.status_code == 302, signed_in.text[:500]

    def _form(self, **fields: str) -> dict[str, str]:
        return {"csrfmiddlewaretoken": self._browser.cookies.get("csrf") or "", **fields}

    def answer(self, source: str) -> None:
        """Puts this into the answer cell."""
        notebook = parse(storage.read_snapshot(storage.snapshot(self.work.workspace))[PS1])
        next(cell for cell in notebook.cells if cell.id == "squares").source = source
        storage.write(self.work.workspace, PS1, dump(notebook))

    def press(self, key: str) -> int:
        """The HTTP status of a click on Submit; 302 is a receipt."""
        address = f"/w/{self.work.workspace.slug}/submit/"
        answer = self._browser.post(address, data=self._form(request_key=key))
        assert answer.status_code != 302 or _RECEIPT.search(answer.headers["location"])
        return answer.status_code

    def page(self) -> str:
        """The page of their work, with a ticket into the notebook."""
        return self._browser.get(f"/w/{self.work.workspace.slug}/").raise_for_status().text

    def submissions(self) -> list[Submission]:
        """Everything that this person handed in, first to last."""
        return list(Submission.objects.filter(authors__work_memberships__work=self.work).order_by("attempt"))

    def close(self) -> None:
        """Closes the browser."""
        self._browser.close()


def student(site: LiveSite) -> Student:
    """Ada, signed in, in a course with one open problem set."""
    users = {person.username: make_user(person.username) for person in CAST}
    # The tests' own hasher is quick, and the site does not know it.
    users["ada"].password = PBKDF2PasswordHasher().encode(PASSWORD, "salt" * 4, iterations=1000)
    users["ada"].save()
    return Student(site, published(make_course(users), users["grace"]), users["ada"])


def score_of(submission: Submission) -> object:
    """What the tests gave, in the one run that counts."""
    run = Autograding.objects.get(submission=submission)
    return CellScore.objects.get(autograding=run, cell__grade_id="tests").auto_score
