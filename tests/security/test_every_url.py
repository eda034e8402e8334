"""Every page × everyone who might ask for it. A page without a line here fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib.admin import site as admin_site
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from classroom.models import Course, Enrollment, Extension, Outbox
from classroom.people.models import User
from grading.models import GradeCell
from runtimes.models import Profile, Runtime
from tests import world as worlds

# Ada is the student whose work, receipt and feedback are asked for. Ben sits beside her; Eve was dropped from the
# course; Tess is the TA of the other section, Tim of Ada's.
ROLES = {
    "anonymous": None, "stranger": "mallory", "student": "ada", "other student": "ben", "dropped": "eve",
    "other TA": "tess", "TA": "tim", "teacher": "grace",
}  # fmt: skip

# yes: the page does its work, or says what is missing in an empty form (2xx, 3xx, 400, 422) · login: sign in first
# 403, 404, 405, 410: as the status says. Members are told 403 for what their role may not; others are told 404, so
# that nobody learns which courses, works and receipts exist.
EVERYONE = "yes yes yes yes yes yes yes yes"
NOBODY = "410 410 410 410 410 410 410 410"
HIDDEN = "404 404 404 404 404 404 404 404"
SIGNED_IN = "login yes yes yes yes yes yes yes"
ADMINISTRATORS = "login 403 403 403 403 403 403 403"  # the administrator is looked at in tests of their pages
COURSE_MAKERS = "login 403 403 403 403 403 403 yes"
MEMBERS = "login 404 yes yes 404 yes yes yes"
STAFF = "login 404 403 403 404 yes yes yes"
TEACHERS = "login 404 403 403 404 403 403 yes"
# Ada's work: she and those who look after her
INSIDE = "login 404 yes 404 404 404 yes yes"
OWN = "login 404 yes 404 404 404 403 403"
ONLY_ADA = "login 404 yes 404 404 404 404 404"
# what only students do
STUDENTS = "login 404 yes yes 404 403 403 403"
MARKERS = "login 404 404 404 404 404 yes yes"

TABLE: dict[tuple[str, str], str] = {}


def lines(expected: str, *rows: str) -> None:
    """Each row is a page's name after the methods that it answers: "GET home", "GET/POST profile"."""
    for row in rows:
        methods, name = row.split()
        for method in methods.split("/"):
            TABLE[method, name] = expected


lines(
    EVERYONE,
    "GET/POST account_login",
    "GET/POST account_logout",
    "GET/POST account_signup",  # says that it is closed, unless SIGN_UP_OPEN
    "GET account_inactive",
    # an email is how courses know a person: the address leads to the profile
    "GET/POST account_email",
    "GET/POST email",
    "GET/POST account_reset_password",
    "GET account_reset_password_done",
    "GET/POST account_reset_password_from_key",
    "GET account_reset_password_from_key_done",
    "GET account_confirm_email",
    "GET account_email_verification_sent",
    "GET javascript-catalog",
    "GET/POST set_language",
    "GET join",
    "POST set_theme",
    "POST set_language_of_person",
)
lines(NOBODY, "GET/POST join_password")  # without an invitation opened just before
lines(
    SIGNED_IN,
    "GET/POST account_change_password",
    "GET/POST account_confirm_login_code",
    "GET/POST account_reauthenticate",
    "GET/POST account_set_password",
    "GET/POST home",
    "GET/POST patterns",
    "GET/POST profile",
)
lines(COURSE_MAKERS, "GET/POST course_new")
lines(ADMINISTRATORS, "GET machines", "GET/POST machine_new", "GET/POST machine", "POST machine_retire")
lines(ADMINISTRATORS, "GET operate", "POST operate_stop", "GET usage", "GET usage_export")
lines(HIDDEN, "GET metrics")  # without a token in the settings
lines(STUDENTS, "GET/POST group")
lines(MEMBERS, "GET course", "GET/POST work")
lines(
    STAFF,
    "GET assignment_check",
    "GET gradebook",
    "GET grading_run",
    "GET gradebook_export",
    "GET submissions",
    "GET teach_assignment",
    "GET teach_course",
    "POST anonymous",
    "POST grade_again",
    "POST preview",
    "POST return_feedback",
)
lines(
    TEACHERS,
    "GET assignment_notebook",
    "GET assignment_source",
    "GET course_usage",
    "GET course_usage_export",
    "GET people",
    "GET regrade",
    "GET people_export",
    "GET/POST assignment_new",
    "GET/POST assignment_publish",
    "GET/POST assignment_settings",
    "GET/POST groups",
    "GET/POST course_order",
    "GET/POST course_settings",
    "GET/POST people_add",
    "GET/POST person",
    "GET/POST points",
    "GET/POST regrades",
    "POST assignment_check_again",
    "POST assignment_move",
    "POST assignment_upload",
    "POST course_archive",
    "POST grading_move",
    "POST people_confirm",
    "POST people_invitations",
    "POST person_drop",
    "POST person_accommodation",
    "POST person_extension",
    "POST person_extension_back",
    "POST regrade_move",
)
lines(
    INSIDE,
    "GET download",
    "GET notebook",
    "GET notebook_machine",
    "GET notebook_state",
    "POST notebook_kernel",
    "POST notebook_ticket",
)
lines(OWN, "GET/POST check", "GET/POST hand_in", "POST notebook_restore", "POST notebook_use_copy", "POST submit")
lines(
    ONLY_ADA,
    "GET feedback",
    "GET feedback_file",
    "GET receipt",
    "GET receipt_files",
    "GET receipt_state",
    "GET receipt_text",
)
lines("login 404 403 403 404 404 yes yes", "GET grading_log")  # of work of one's own section
lines(MARKERS, "GET review", "GET review_files", "GET review_here", "POST review_finish", "POST review_mark")


@pytest.fixture
def world(course: Course, mallory: User) -> worlds.World:
    return worlds.build(course)


def arguments(world: worlds.World) -> dict[str, Any]:
    """What an address may ask for, all of it Ada's."""
    ada = Enrollment.objects.get(course=world.course, user__username="ada")
    extension = Extension.objects.filter(assignment=world.assignment, user=ada.user).first()
    words = GradeCell.objects.get(notebook__release=world.ada_submission.release, grade_id="why")
    return {
        "course": world.course.slug, "assignment": world.assignment.slug, "workspace": world.ada_work.workspace.slug,
        "code": world.ada_submission.code, "enrollment": ada.pk, "extension": extension.pk if extension else 1,
        "cell": words.pk, "regrade": world.regrade.pk,
        "autograding": world.ada_submission.autogradings.get(current=True).pk, "number": 1, "path": worlds.NOTEBOOK,
        "secret": "nobody-has-this", "key": "set-password",
        "uidb36": "1", "slug": world.assignment.profile.slug, "name": "nothing",
    }  # fmt: skip


def patterns(resolver: URLResolver | None = None) -> Iterator[URLPattern]:
    """Every page, without Django's own administration, which has a test of its own below."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLPattern):
            yield pattern
        elif pattern.app_name != "admin":
            yield from patterns(pattern)


def addresses(world: worlds.World) -> dict[str, str]:
    """Each page's name, and its address in the world."""
    values = arguments(world)
    return {
        name: reverse(name, kwargs={part: values[part] for part in pattern.pattern.regex.groupindex})
        for pattern in patterns()
        if (name := str(pattern.name))
    }


class Crowd:
    """Everyone of ROLES, signed in once. What a request changes is undone after it."""

    def __init__(self) -> None:
        self._cookies: dict[str, Any] = {}
        for role, username in ROLES.items():
            client = Client()
            if username:
                client.force_login(User.objects.get(username=username))
            self._cookies[role] = client.cookies

    def word(self, role: str, method: str, url: str) -> str:
        """How one request ends, in the table's words."""
        client = Client(raise_request_exception=False)
        client.cookies.update(self._cookies[role])
        with transaction.atomic():
            try:
                return word(client.generic(method, url))
            finally:
                transaction.set_rollback(True)

    def row(self, method: str, url: str) -> str:
        """How it ends for everyone, as a line of the table."""
        return " ".join(self.word(role, method, url) for role in ROLES)


def word(answer: HttpResponseBase) -> str:
    """An outcome in the table's words."""
    status, location = answer.status_code, answer.headers.get("Location", "")
    if status in {302, 303} and location.startswith((reverse("account_login"), "/django-admin/login/")):
        return "login"
    return "yes" if status < 400 or status in {400, 422} else str(status)


def test_every_page_has_a_line():
    known = {name for _method, name in TABLE}
    assert {pattern.name for pattern in patterns()} - known == set()


def test_every_line_has_a_page():
    assert {name for _method, name in TABLE} - {pattern.name for pattern in patterns()} == set()


def test_everyone_gets_what_is_theirs(world: worlds.World):
    crowd = Crowd()
    wrong = {
        f"{method} {name}": f"{found} (expected {TABLE[method, name]})"
        for name, url in addresses(world).items()
        for method in ("GET", "POST")
        if (method, name) in TABLE and (found := crowd.row(method, url)) != TABLE[method, name]
    }
    assert not wrong, "\n" + "\n".join(f"{line}: {found}" for line, found in wrong.items())


def test_a_method_without_a_line_does_nothing(world: worlds.World):
    crowd = Crowd()
    answered = {
        f"{role}: {method} {name}"
        for name, url in addresses(world).items()
        for method in ("GET", "POST")
        if (method, name) not in TABLE
        for role in ("student", "teacher")
        if crowd.word(role, method, url) == "yes"
    }
    assert not answered


def test_nothing_is_changed_from_another_site(world: worlds.World):
    """Every POST without the site's own token is refused, also to those who may."""
    careless = set()
    for name, url in addresses(world).items():
        client = Client(enforce_csrf_checks=True, raise_request_exception=False)
        client.force_login(world.course.created_by)
        if ("POST", name) in TABLE and client.post(url).status_code != 403:
            careless.add(name)
    assert not careless


# --- Django's own administration

#: How a page ends for staff without a permission, and for an administrator, where it is not OF_A_MODEL.
OF_A_MODEL = "403 yes"
NOT_EVEN_ADMINISTRATORS = "403 403"
ADMINISTRATION = {
    "GET index": "yes yes", "POST index": "yes yes",
    "GET password_change": "yes yes", "POST password_change": "yes yes",  # their own
    "GET password_change_done": "yes yes", "POST password_change_done": "405 405",
    "GET jsi18n": "yes yes", "POST jsi18n": "405 405",
    "GET autocomplete": "403 403", "POST autocomplete": "405 405",  # of nothing
    "GET view_on_site": "404 404", "POST view_on_site": "404 404",
    "GET app_list": "404 yes", "POST app_list": "404 yes",
    "POST runtimes_runtime_change": NOT_EVEN_ADMINISTRATORS,  # which are read
} | {
    f"{method} {name}": NOT_EVEN_ADMINISTRATORS
    for method in ("GET", "POST")
    for name in ("people_user_delete", "classroom_course_delete", "runtimes_runtime_add", "runtimes_runtime_delete",
                 "classroom_outbox_add")
}  # fmt: skip


def admin_patterns(resolver: URLResolver | None = None) -> Iterator[URLPattern]:
    """Every page of Django's administration, also those of each model; not the page for what is none."""
    admin = next(found for found in get_resolver().url_patterns if getattr(found, "app_name", "") == "admin")
    for pattern in (resolver or admin).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from admin_patterns(pattern)
        elif pattern.name:
            yield pattern


def one_of_each() -> None:
    """A row of every model that is administered and of which a course in its middle has none."""
    ada = User.objects.get(username="ada")
    profile = Profile.objects.get_or_create(slug="small", defaults={"name": "Small"})[0]
    Runtime.objects.create(profile=profile, account="nobody")
    Outbox.objects.get_or_create(kind="nothing", key="1")
    Group.objects.create(name="Helpers")
    EmailAddress.objects.create(user=ada, email=ada.email)
    account = SocialAccount.objects.create(user=ada, provider="google", uid="1")
    app = SocialApp.objects.create(provider="google", name="Google")
    SocialToken.objects.create(account=account, app=app)


def admin_addresses() -> dict[str, str]:
    """Each page's name and its address, that of a row that exists."""
    fixed = {"app_label": "classroom", "content_type_id": 1, "url": "nothing"}
    rows = {
        f"{model._meta.app_label}_{model._meta.model_name}": model._default_manager.values_list("pk", flat=True)[0]
        for model in admin_site._registry
    }
    # Django's page for somebody's password is named after its own model of people.
    rows["auth_user_password"] = rows["people_user"]
    found = {}
    for pattern in admin_patterns():
        parts = pattern.pattern.regex.groupindex
        row = rows.get(str(pattern.name).rpartition("_")[0])
        found[str(pattern.name)] = reverse(
            f"admin:{pattern.name}", kwargs={part: fixed.get(part, row or 1) for part in parts}
        )
    return found


def test_administration_is_for_administrators(world: worlds.World, root: User, monkeypatch: pytest.MonkeyPatch):
    one_of_each()
    User.objects.create_user("stan", "stan@example.org", is_staff=True)
    monkeypatch.setitem(ROLES, "staff without a permission", "stan")
    monkeypatch.setitem(ROLES, "administrator", "root")
    crowd, addresses, wrong = Crowd(), admin_addresses(), {}
    assert len(addresses) > 50
    for name in sorted(addresses.keys() - {"login", "logout"}):
        for method in ("GET", "POST"):
            expected = " ".join(["login"] * 8) + " " + ADMINISTRATION.get(f"{method} {name}", OF_A_MODEL)
            if (found := crowd.row(method, addresses[name])) != expected:
                wrong[f"{method} {name}"] = f"{found} (expected {expected})"
    assert not wrong, "\n" + "\n".join(f"{line}: {found}" for line, found in wrong.items())
