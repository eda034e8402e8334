"""A notebook for bash in stock Notebook 7: its kernel is named, its cells run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.person import PASSWORD, Person
from tests.live import LiveSite
from tests.runtimes.providers import environment_with_bash

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.sandbox, pytest.mark.timeout(600)]

# Runs in a process of the live site, so that files land in its storage.
COURSE = f"""
from classroom import courses, publish
from classroom.models import Enrollment
from classroom.people.models import User
from grading.models import Release
from tests.grading.test_live_other_kernels import source
grace = User.objects.create_user("gina", "gina@example.org", "{PASSWORD}", display_name="Gina")
course = courses.create(slug="shell", title="Shells", term="", time_zone="Europe/Paris", by=grace)
ada = User.objects.create_user("ada", "ada@example.org", "{PASSWORD}", display_name="Ada")
Enrollment.objects.create(course=course, user=ada, role="student")
assignment = publish.create(course, slug="sh", title="Shell", graded=True, unit="")
release = publish.upload(assignment, source(), grace)
Release.objects.filter(pk=release.pk).update(state=Release.State.CHECKED)
release.refresh_from_db()
publish.publish(assignment, release, anyway=True)
"""


@pytest.fixture
def live(django_db_blocker) -> Iterator[LiveSite]:
    """The whole site on an environment with bash's kernel, new for each try: Ada's answer is typed once."""
    with LiveSite(django_db_blocker, KERNEL_ENVIRONMENT=str(environment_with_bash().folder)) as site:
        site.manage("shell", "-c", COURSE)
        yield site


def test_a_notebook_in_bash_is_opened_and_run(live: LiveSite, person: Callable[[], Person]) -> None:
    ada = person()
    ada.sign_in("ada")
    ada.visit("/c/shell/")
    ada.press("Open")
    ada.waits_for_notebook()
    expect(ada.notebook.locator(".jp-Toolbar-kernelName")).to_have_text("Bash")
    ada.types(ada.cell("YOUR CODE HERE"), 'greet() { echo "Hello, $1"; }; greet Ada')
    ada.menu("Run", "Run All Cells")
    shown = ada.notebook.locator(".jp-OutputArea-output")
    expect(shown.first).to_have_text("Hello, Ada", timeout=60_000)
    expect(shown.filter(has_text="careful")).to_be_attached(timeout=60_000)
    ada.page.reload()
    ada.waits_for_notebook()
    expect(ada.notebook.locator(".jp-OutputArea-output").first).to_have_text("Hello, Ada")
    assert [trouble for trouble in ada.troubles if "reading 'schema'" not in trouble] == []
