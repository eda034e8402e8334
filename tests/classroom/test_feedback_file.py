"""Feedback as a file: everything in it, and nothing in it can run, load or send, wherever it is opened."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from django.utils import timezone

from grading import feedback, review
from grading.autograde import record_path
from grading.models import Autograding, Submission
from runtimes import storage
from tests.classroom.work import PS1, cell_of, graded, handed_in, published

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "</iframe><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<form action=https://example.org><button>x</button></form>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<iframe src=https://example.org></iframe>",
    '" onfocus="alert(1)" autofocus="',
    "<link rel=stylesheet href=https://example.org/x.css>",
]


class Seen(HTMLParser):
    """Every element and attribute of a page, and of the pages in its frames apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))


@pytest.fixture
def hostile(ps1, ada, grace, tim) -> Submission:
    """Feedback on a notebook that attacks in every place that it has, with a hostile comment."""
    submission = graded(handed_in(ps1, ada), failed_tests="AssertionError: " + HOSTILE[0])
    run = Autograding.objects.get(submission=submission, current=True)
    files = storage.read_snapshot(run.result)
    content = json.loads(files[PS1])
    for text in HOSTILE:
        html = {"output_type": "display_data", "data": {"text/html": text, "text/plain": text}, "metadata": {}}
        svg = {"output_type": "display_data", "data": {"image/svg+xml": text}, "metadata": {}}
        said = {"output_type": "stream", "name": "stdout", "text": text}
        code = {"cell_type": "code", "source": text, "outputs": [html, svg, said], "metadata": {}, "execution_count": 1}
        content["cells"] += [code, {"cell_type": "markdown", "source": text, "metadata": {}}]
    files[PS1] = json.dumps(content).encode()
    # All of it was shown before a hidden test ran.
    rows = [{"cell": number, "sealed": False} for number, _cell in enumerate(content["cells"], 1)]
    files[record_path(PS1.removesuffix(".ipynb"))] = json.dumps(rows).encode()
    Autograding.objects.filter(pk=run.pk).update(result=storage.snapshot_of(files))
    review.comment(submission, cell_of(submission, "essay"), tim, "".join(HOSTILE))
    Submission.objects.filter(pk=submission.pk).update(state="reviewed", finished_at=timezone.now())
    submission.refresh_from_db()
    assert feedback.release([submission], grace)
    return submission


def test_the_file_is_a_sandboxed_download(hostile, ada, as_user):
    response = as_user(ada).get(f"/feedback/{hostile.code}/file/")
    assert response["Content-Disposition"] == f'attachment; filename="feedback-{hostile.code}.html"'
    assert response["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_its_own_policy_comes_before_anything_that_could_load(hostile, ada, as_user):
    page = Seen(as_user(ada).get(f"/feedback/{hostile.code}/file/").content.decode())
    tags = [tag for tag, _ in page.elements]
    policy = page.elements[tags.index("meta") + 1][1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'")
    assert "script-src" not in policy["content"]
    assert tags[:4] == ["html", "head", "meta", "meta"]


def test_nothing_in_it_runs_loads_or_sends(hostile, ada, as_user):
    page = Seen(as_user(ada).get(f"/feedback/{hostile.code}/file/").content.decode())
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "form", "object", "embed", "base", "svg"}, tag
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("href", "src", "action"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:image/", "https:", "mailto:")), (tag, value)
        assert tag != "img" or attributes.get("src", "data:image/").startswith("data:image/")
    refreshes = [a for tag, a in page.elements if tag == "meta" and a.get("http-equiv") == "refresh"]
    assert refreshes == []


def test_every_output_is_in_a_frame_that_may_do_nothing(hostile, ada, as_user):
    page = Seen(as_user(ada).get(f"/feedback/{hostile.code}/file/").content.decode())
    frames = [attributes for tag, attributes in page.elements if tag == "iframe"]
    assert len(frames) >= len(HOSTILE)
    for frame in frames:
        assert frame["sandbox"] == ""
        assert "src" not in frame
        inner = Seen(frame["srcdoc"])
        tags = [tag for tag, _ in inner.elements]
        policy = inner.elements[tags.index("meta") + 1][1]
        assert policy["content"].startswith("default-src 'none'")


def test_it_says_what_the_page_says(hostile, ada, as_user):
    text = as_user(ada).get(f"/feedback/{hostile.code}/file/").content.decode()
    for words in ("squares", "Tim", "/ 5", "This test failed:"):
        assert words in text


def test_it_is_there_only_when_feedback_is_returned_and_for_its_authors(hostile, grace, ada, ben, as_user):
    assert as_user(ben).get(f"/feedback/{hostile.code}/file/").status_code == 404
    feedback.withdraw([hostile], grace)
    assert as_user(ada).get(f"/feedback/{hostile.code}/file/").status_code == 302


def test_feedback_is_the_notebooks_and_no_other_file(course, grace, ada, as_user):
    """Stock nbgrader copies what lies beside the source, and beside a submission, into the feedback."""
    made = published(course, grace, more={"rubric.txt": b"3 points if brief"})
    submission = graded(handed_in(made, ada))
    Submission.objects.filter(pk=submission.pk).update(state="reviewed", finished_at=timezone.now())
    submission.refresh_from_db()
    assert feedback.release([submission], grace)
    for address in ("", "file/"):
        page = as_user(ada).get(f"/feedback/{submission.code}/{address}").content.decode()
        assert "squares" in page
        assert "rubric" not in page
        assert "3 points if brief" not in page
