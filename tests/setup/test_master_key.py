"""The master key is changed while kernels run, and no kernel notices."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from classroom import environment
from classroom.places import CHECKOUT
from runtimes import keyring, launch
from runtimes.endpoint import Endpoint
from runtimes.errors import KeyMissing
from runtimes.models import Profile, Runtime, Workspace
from tests.live import LiveSite


class TestWhereKeysComeFrom:
    @pytest.mark.parametrize(
        ("text", "keys"),
        [("one", {1: "one"}), ("2:new 1:old", {2: "new", 1: "old"}), (" 3:third\n2:new ", {3: "third", 2: "new"})],
    )
    def test_the_variable_has_one_or_several(self, monkeypatch, tmp_path, text, keys):
        monkeypatch.setenv("MASTER_KEY", text)
        assert environment.versioned_keys("MASTER_KEY", tmp_path, "master") == keys
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("text", ["new old", "2:new old", "2:new 2:old", "x:new", "2:", "3:new 2:2:old"])
    def test_anything_else_is_refused(self, monkeypatch, tmp_path, text):
        monkeypatch.setenv("MASTER_KEY", text)
        with pytest.raises(ImproperlyConfigured, match="2:new 1:old"):
            environment.versioned_keys("MASTER_KEY", tmp_path, "master")

    def test_a_version_that_stands_there_twice_is_named_and_no_key_is_shown(self, monkeypatch, tmp_path):
        monkeypatch.setenv("MASTER_KEY", "3:new 2:2:old")
        with pytest.raises(ImproperlyConfigured, match="version 2 .*has a colon") as refused:
            environment.versioned_keys("MASTER_KEY", tmp_path, "master")
        assert "old" not in str(refused.value).replace("2:new 1:old", "")

    def test_else_files_have_them_and_the_first_is_made(self, monkeypatch, tmp_path):
        monkeypatch.delenv("MASTER_KEY", raising=False)
        (made,) = environment.versioned_keys("MASTER_KEY", tmp_path, "master").values()
        environment.secret_file(tmp_path, "master.2")
        assert environment.versioned_keys("MASTER_KEY", tmp_path, "master")[1] == made
        (tmp_path / "master").unlink()
        assert set(environment.versioned_keys("MASTER_KEY", tmp_path, "master")) == {2}


@pytest.fixture
def keys_of_the_variable(monkeypatch, settings, tmp_path) -> Callable[[str], dict[int, str]]:
    """Restarts the site with that MASTER_KEY, as far as settings go: the keys that it then knows."""

    def restart(text: str) -> dict[int, str]:
        monkeypatch.setenv("MASTER_KEY", text)
        keys = environment.versioned_keys("MASTER_KEY", tmp_path, "master")
        before = dict(keys)
        settings.MASTER_KEY_VERSION = max(before)
        settings.MASTER_KEY = before.pop(settings.MASTER_KEY_VERSION)
        settings.MASTER_KEYS_BEFORE = before
        return keys

    return restart


@pytest.mark.django_db
class TestKeysInTheVariable:
    @pytest.mark.parametrize("has", ["used", "1:used", "2:used", "2:used 1:earlier"])
    def test_what_to_set_keeps_every_key_that_is_used_and_shows_none(self, keys_of_the_variable, capsys, has):
        before = keys_of_the_variable(has)
        told = rotated(capsys)
        assert "used" not in told
        assert "earlier" not in told
        after = keys_of_the_variable(told.replace("…", has))
        assert after == before | {max(before) + 1: after[max(after)]}

    def test_a_second_change_is_made_as_the_first_and_reaches_what_began_between(self, keys_of_the_variable, capsys):
        first = "f" * 64
        keys_of_the_variable(first)
        both = rotated(capsys).replace("…", first)
        second = keys_of_the_variable(both)[2]
        between = keyring.keys_of(Endpoint("ipc", "/x", "between", 2))
        call_command("rotate_master_key", "--forget")
        assert "(2:…)" in capsys.readouterr().out
        keys_of_the_variable(f"2:{second}")
        keys = keys_of_the_variable(rotated(capsys).replace("…", f"2:{second}"))
        assert keys[2] == second
        assert settings.MASTER_KEY_VERSION == 3
        assert keyring.keys_of(Endpoint("ipc", "/x", "between", 2)) == between

    def test_who_began_before_the_change_says_that_asking_again_is_right(self, keys_of_the_variable):
        keys_of_the_variable("1:first")
        with pytest.raises(KeyMissing, match="lacks version 2") as missing:
            keyring.keys_of(Endpoint("ipc", "/x", "new", 2))
        assert missing.value.retryable
        assert "first" not in str(missing.value)

    def test_runtimes_is_restarted_after_whoever_must_know_its_key(self, keys_of_the_variable, capsys):
        keys_of_the_variable("first")
        call_command("rotate_master_key")
        assert "restart site, worker and beat, and once they are up `runtimes`" in capsys.readouterr().out
        guide = (CHECKOUT / "docs" / "operate.md").read_text()
        guide = guide.split("## Rotation of the master key")[1].split("\n## ")[0]
        first, awaited, last = re.findall(r"^   .*kubectl .* rollout (?:restart|status) (.*)$", guide, re.MULTILINE)
        others = ["site", "worker", "beat"]
        assert re.findall(r"deployment/pupitre-(\w+)", first) == others
        assert f"for each in {' '.join(others)}; do" in guide
        assert awaited.startswith("deployment/pupitre-$each;")
        assert last.startswith("deployment/pupitre-runtimes ")


def rotated(capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says is to be set."""
    call_command("rotate_master_key")
    return capsys.readouterr().out.splitlines()[-1]


ASK = """
import asyncio
from runtimes.agent_client import AgentClient
from runtimes.models import Runtime
print("STATUS", asyncio.run(AgentClient.of(Runtime.objects.get(name={name!r})).status()))
"""


def ready(site: LiveSite, workspace: Workspace) -> Runtime:
    """Its runtime, once that is ready."""
    runtime = launch.launch(workspace)
    site.until(lambda: Runtime.objects.get(pk=runtime.pk).state == Runtime.State.READY, "the runtime is ready")
    return Runtime.objects.get(pk=runtime.pk)


@pytest.mark.live
@pytest.mark.timeout(300)
def test_who_runs_is_reached_after_the_change_and_who_comes_has_the_new_key(django_db_setup, django_db_blocker):
    with LiveSite(django_db_blocker) as site, site.orm():
        profile = Profile.objects.create(slug="small", name="Small")
        first, second = (Workspace.objects.create(profile=profile, account="a", title=name) for name in "ab")
        old = ready(site, first)
        site.manage("rotate_master_key")
        # A process that starts now knows both keys.
        assert "STATUS" in site.manage("shell", "-c", ASK.format(name=old.name))
        with pytest.raises(subprocess.CalledProcessError) as refused:
            site.manage("rotate_master_key", "--forget", stderr=subprocess.PIPE)
        assert "1 runtimes have older keys" in refused.value.stderr
        site.kill("runtimes")
        new = ready(site, second)
        assert (old.key_version, new.key_version) == (1, 2)
        assert "STATUS" in site.manage("shell", "-c", ASK.format(name=new.name))
        site.until(lambda: Runtime.objects.get(pk=old.pk).state not in Runtime.LIVE, "the first one is over")
        site.manage("rotate_master_key", "--forget")
        assert not (site.folder / "secrets" / "master").exists()
        assert "STATUS" in site.manage("shell", "-c", ASK.format(name=new.name))
