"""Single-use links."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client
from django.utils import timezone

from classroom import invite, outbox, roster
from classroom.models import Course, Enrollment
from classroom.people.models import Invitation, User
from classroom.roster_read import read

CHOSEN = {"display_name": "Fran Doe", "password": "a long and odd phrase", "again": "a long and odd phrase"}


@pytest.fixture
def fran(course: Course, grace: User) -> User:
    class_list = read("email,name,section\nfran@example.org,Fran,A\n")
    roster.apply(course, class_list, by=grace, digest=roster.plan(course, class_list, grace).digest)
    return User.objects.get(email="fran@example.org")


def path_of(address: str) -> str:
    assert address.startswith(settings.SITE_ORIGIN)
    return address.removeprefix(settings.SITE_ORIGIN)


def test_a_link_lets_its_person_choose_a_password_and_come_in(fran: User, grace: User, client: Client):
    page = client.get(path_of(invite.issue(fran, grace)), follow=True)
    assert "fran@example.org" in page.content.decode()
    assert client.post("/join/", CHOSEN).status_code == 302
    fran.refresh_from_db()
    assert fran.check_password(CHOSEN["password"])
    assert client.get("/c/data/").status_code == 200
    assert Enrollment.objects.get(user=fran).state == Enrollment.State.ACTIVE


def test_the_secret_is_kept_nowhere(fran: User, grace: User):
    secret = invite.issue(fran, grace).rstrip("/").rsplit("/", 1)[1]
    assert secret not in str(list(Invitation.objects.values()))


def test_the_address_does_not_stay_in_the_address_bar(fran: User, grace: User, client: Client):
    response = client.get(path_of(invite.issue(fran, grace)))
    assert (response.status_code, response.url) == (302, "/join/")
    assert "no-store" in response["Cache-Control"]


def test_a_link_on_paper_can_be_typed_whatever_the_case(fran: User, grace: User, client: Client):
    path = path_of(invite.issue(fran, grace, on_paper=True))
    assert len(path) < 30
    page = client.get(path.lower().replace("-", ""), follow=True)
    assert "fran@example.org" in page.content.decode()


def test_looking_at_a_link_does_not_spend_it(fran: User, grace: User, client: Client):
    path = path_of(invite.issue(fran, grace))
    client.get(path, follow=True)
    assert Client().get(path, follow=True).status_code == 200


def test_a_link_works_once(fran: User, grace: User, client: Client):
    path = path_of(invite.issue(fran, grace))
    client.get(path)
    client.post("/join/", CHOSEN)
    again = Client().get(path, follow=True)
    assert again.status_code == 410
    assert "no longer works" in again.content.decode()


def test_of_two_who_click_at_once_one_comes_in(fran: User, grace: User):
    invitation = invite.find(invite.issue(fran, grace).rstrip("/").rsplit("/", 1)[1])
    invite.accept(invitation, "the first password!")
    with pytest.raises(invite.InvitationGone):
        invite.accept(invitation, "the second password!")
    fran.refresh_from_db()
    assert fran.check_password("the first password!")


def test_a_password_spends_every_other_link(fran: User, grace: User):
    first, second = (invite.issue(fran, grace).rstrip("/").rsplit("/", 1)[1] for _ in range(2))
    invite.accept(invite.find(first), CHOSEN["password"])
    with pytest.raises(invite.InvitationGone):
        invite.find(second)


def test_an_old_link_is_gone(fran: User, grace: User, client: Client):
    path = path_of(invite.issue(fran, grace))
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(path, follow=True).status_code == 410


def test_no_link_lets_anyone_into_an_account_that_is_in_use(course: Course, grace: User, ada: User):
    with pytest.raises(invite.InvitationGone):
        invite.issue(ada, grace)


def test_a_weak_password_is_refused_and_the_link_stays_good(fran: User, grace: User, client: Client):
    client.get(path_of(invite.issue(fran, grace)))
    weak = client.post("/join/", {"display_name": "Fran", "password": "password", "again": "password"})
    assert weak.status_code == 422
    differing = client.post("/join/", CHOSEN | {"again": "another phrase entirely"})
    assert "not the same" in differing.content.decode()
    assert client.post("/join/", CHOSEN).status_code == 302


def test_the_mail_has_the_link_and_goes_out_once(fran: User, course: Course, grace: User):
    roster.invite(course, [fran], grace)
    roster.invite(course, [fran], grace)
    outbox.drain()
    [message] = mail.outbox
    assert message.to == ["fran@example.org"]
    assert "Grace" in message.body
    [path] = [path_of(line) for line in message.body.splitlines() if line.startswith("http")]
    assert Client().get(path, follow=True).status_code == 200


def test_who_has_come_meanwhile_gets_no_mail(fran: User, course: Course, grace: User):
    roster.invite(course, [fran], grace)
    fran.set_password(CHOSEN["password"])
    fran.save()
    outbox.drain()
    assert mail.outbox == []


def test_who_was_dropped_meanwhile_gets_no_mail(fran: User, course: Course, grace: User):
    roster.invite(course, [fran], grace)
    roster.drop(Enrollment.objects.get(user=fran))
    outbox.drain()
    assert mail.outbox == []


def test_sign_up_is_closed(client: Client, db: None):
    page = client.get("/accounts/signup/")
    assert "Accounts come from your teacher" in page.content.decode()
    client.post(
        "/accounts/signup/",
        {"email": "x@example.org", "username": "x", "password1": "long phrase 1", "password2": "long phrase 1"},
    )
    assert not User.objects.filter(username="x").exists()


def test_only_an_open_site_offers_an_account(client: Client, db: None, settings):
    assert "Make an account" not in client.get("/accounts/login/").content.decode()
    settings.SIGN_UP_OPEN = True
    assert 'href="/accounts/signup/"' in client.get("/accounts/login/").content.decode()
    words = client.get("/accounts/signup/").content.decode()
    assert 'name="password1"' in words
    assert "use the link that came to you" in words
