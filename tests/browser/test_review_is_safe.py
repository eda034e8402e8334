"""What a student wrote, in the pages of those who mark: it is seen, it does not run, and nothing leaves the page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from tests.browser.person import PASSWORD, Person
from tests.live import LiveSite

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.timeout(300)]

#: Takes the place of the attacker's address, which only a running server can have.
ELSEWHERE = "http://elsewhere.example"
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
evil = "<script>top.PWNED=1;parent.PWNED=1;fetch('{ELSEWHERE}/f')</script>" \\
    "<img src='{ELSEWHERE}/i' onerror='top.PWNED=2'><a href='javascript:top.PWNED=3'>x</a>" \\
    "<form action='{ELSEWHERE}/'><input name=q></form><p id='shown'>Result</p>" \\
    "<meta http-equiv=refresh content='0;url={ELSEWHERE}/m'><iframe src='{ELSEWHERE}/g'></iframe>"
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


class Attacker:
    """A server of its own on the loopback address. `heard` is what any browser asked of it."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """What was asked is in `heard`."""

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def attacker() -> Iterator[Attacker]:
    server = Attacker()
    yield server
    server.close()


@pytest.fixture(scope="module")
def code(live: LiveSite, attacker: Attacker) -> str:
    return live.manage("shell", "-c", COURSE.replace(ELSEWHERE, attacker.url)).split("CODE ")[1].strip()


@pytest.mark.parametrize(("username", "page"), [("tina", "review"), ("ada", "feedback")])
def test_a_hostile_notebook_is_only_looked_at(
    live: LiveSite, person: Callable[[], Person], code: str, attacker: Attacker, username: str, page: str
) -> None:
    reader = person()
    reader.sign_in(username)
    # The attacker's server hears whoever asks it: what it does not hear below was not sent.
    attacker.heard.clear()
    reader.page.request.get(f"{attacker.url}/heard")
    assert "/heard" in attacker.heard
    attacker.heard.clear()
    reader.visit(f"/{page}/{code}/")
    frame = reader.page.frame_locator("iframe[srcdoc]").first
    reader.page.locator("iframe[srcdoc]").first.scroll_into_view_if_needed()
    expect(frame.locator("#shown")).to_have_text("Result")
    reader.page.wait_for_load_state("networkidle")
    assert reader.page.evaluate("window.PWNED") is None
    assert reader.page.url.endswith(f"/{page}/{code}/")
    assert attacker.heard == []
    for attribute in reader.page.locator("iframe[srcdoc]").evaluate_all("all => all.map(one => one.sandbox.value)"):
        assert attribute == ""
