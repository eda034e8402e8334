"""What the administrator finds in Django's own pages."""

from __future__ import annotations

from classroom.models import Assignment
from classroom.people.models import User
from runtimes.launch import launch as launch_runtime
from runtimes.models import Profile, Runtime
from runtimes.status import Reason
from tests.classroom.work import work_of


def test_a_machine_that_could_not_start_says_why(ps1: Assignment, ada: User, root: User, as_user):
    runtime = launch_runtime(work_of(ps1, ada).workspace)
    Runtime.objects.filter(pk=runtime.pk).update(state=Runtime.State.FAILED, reason=Reason.OUT_OF_MEMORY)
    client = as_user(root)
    for path in ("/django-admin/runtimes/runtime/", f"/django-admin/runtimes/runtime/{runtime.pk}/change/"):
        words = client.get(path).content.decode()
        assert runtime.name in words
        assert "memory" in words


def test_machines_are_read_and_never_written_there(ps1: Assignment, ada: User, root: User, as_user):
    runtime = launch_runtime(work_of(ps1, ada).workspace)
    client = as_user(root)
    for path in ("add/", f"{runtime.pk}/delete/"):
        assert client.get(f"/django-admin/runtimes/runtime/{path}").status_code == 403
    page = client.post(f"/django-admin/runtimes/runtime/{runtime.pk}/change/", {"state": "stopped"})
    assert page.status_code == 403
    runtime.refresh_from_db()
    assert runtime.state == Runtime.State.QUEUED


def test_a_machine_is_changed_there_by_the_same_rules_and_its_new_image_is_yet_to_be_tried(ps1, root, as_user):
    client, page = as_user(root), f"/django-admin/runtimes/profile/{ps1.line_item.profile_id}/change/"
    form = client.get(page).context["adminform"].form
    sent = {field.html_name: field.value() for field in form if field.value() is not None}
    sent |= {"preload": "[]", "timetable": "[]", "node_selector": "{}", "tolerations": "[]"}
    sharing = {"gpu": 1, "accelerator_sharing": "time-sharing", "accelerator_clients": 4}
    refused = client.post(page, sent | sharing)
    assert refused.context["adminform"].form.errors.keys() == {"accelerator_sharing"}
    assert client.post(page, sent | {"name": "Graded here"}).status_code == 302
    row = Profile.objects.get(pk=ps1.line_item.profile_id)
    assert (row.name, row.image_untried) == ("Graded here", False)
    assert client.post(page, sent | {"image": f"registry.example/kernel@sha256:{'0' * 64}"}).status_code == 302
    row.refresh_from_db()
    assert row.image_untried
