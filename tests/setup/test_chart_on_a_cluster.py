"""The chart on a real cluster, whose node is this machine: Helm installs the site, a student works, it is upgraded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, expect

from deploy.local.services import free_port, services
from runtimes.models import Runtime
from runtimes.pods import labels
from tests.browser.conftest import browser  # noqa: F401 - the fixture
from tests.browser.person import Person, shots_folder
from tests.runtimes.pods.real import needs_cluster
from tests.setup.release import CHART, Release, until

SITE_IMAGE, PODS_IMAGE = os.environ.get("SITE_IMAGE", ""), os.environ.get("PODS_IMAGE", "")
NO_IMAGE = (
    "NO IMAGES: the chart is not installed. Build deploy/images/site and kernel on the node and name them by digest in "
    "SITE_IMAGE and PODS_IMAGE"
)
WAITS = f"{labels.PROFILE}=standard,{labels.STATE}={labels.WARM}"
HERS = f"{labels.PURPOSE}={Runtime.Purpose.INTERACTIVE},{labels.STATE}={labels.CLAIMED}"
MACHINES = yaml.safe_load((CHART / "values-laptop.yaml").read_text())["machines"]

pytestmark = [
    needs_cluster,
    pytest.mark.skipif(not (SITE_IMAGE and PODS_IMAGE), reason=NO_IMAGE),
    pytest.mark.live,
    pytest.mark.browser,
    pytest.mark.timeout(900),
]


def test_what_helm_installs_serves_a_student_whose_kernel_outlives_an_upgrade_and_goes_away_whole(
    browser: Browser,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    port = free_port()
    with prepared() as (release, api):
        release.helm("install", values(port), api)
        # The machines of the values are there, and one of them waits.
        assert yaml.safe_load(release.manage("show_machines"))["machines"] == MACHINES
        accounts = release.manage("demo")
        # Its problem set is opened once the worker has run its solution in a pod.
        assert "The demo course is ready." in accounts
        release.hang("worker")
        waiting = ready_one(release)
        with release.reached(port) as url:
            ada = Person(browser, url, shots_folder(tmp_path))
            sign_in(ada, accounts)
            open_the_tutorial(ada)
            run(ada, "import numpy as np", "kept = 6 * 7\nprint('kept', kept)", prints="kept 42")
            assert release.pods(release.kernels, HERS) == waiting
            # What hangs is started again, and nothing else.
            until(lambda: release.starts_again("worker"), release.told)
            assert not any(release.starts_again(process) for process in ("site", "runtimes", "beat"))
            waiting = ready_one(release)
            upgrade(release, values(port), api)
            # The same page, whatever its sockets are doing: what is run now waits for them.
            run(ada, "kept = 6 * 7", "print('still', kept + 1)", prints="still 43")
            # Nor was what waits for the next one made anew.
            assert release.pods(release.kernels, WAITS) == waiting
        release.uninstall()
        # Nobody's work is thrown away with it.
        until(lambda: release.labelled() == {f"persistentvolumeclaim/{release.name}-files"}, release.labelled)


def ready_one(release: Release) -> set[str]:
    """The pool of one, filled."""
    until(lambda: len(release.pods(release.kernels, WAITS)) == 1, release.told)
    namespace = ("--namespace", release.kernels)
    release.kubectl(*namespace, "wait", "--for=condition=Ready", "pod", f"--selector={WAITS}", "--timeout=60s")
    return release.pods(release.kernels, WAITS)


def upgrade(release: Release, chosen: dict[str, Any], api: str) -> None:
    """Every process of the site has another setting, and so another pod; the kernel has the pod that it had."""
    before, [kernel] = release.pods(release.name), release.pods(release.kernels, HERS)
    release.helm("upgrade", chosen | {"settings": {"TIME_ZONE": "Asia/Tokyo"}}, api)
    until(lambda: not before & release.pods(release.name), release.told)
    assert release.pods(release.kernels, HERS) == {kernel}


@contextmanager
def prepared() -> Iterator[tuple[Release, str]]:
    """What the chart finds: namespace, Secret, volume, PostgreSQL and Redis; and the API's URL for pods."""
    with services() as engines, ExitStack() as relays, Release() as release:
        bridge = release.make_namespace(SITE_IMAGE)
        reached = {name: relays.enter_context(bridge.relay(url)) for name, url in engines.items()}
        release.share_priorities()
        release.make_secret(**reached)
        release.make_volume()
        yield release, relays.enter_context(bridge.relay(release.api()))


def values(port: int) -> dict[str, Any]:
    """Beside those for a laptop: images, the port of the way in, and what other tests have made."""
    repository, _at, digest = SITE_IMAGE.partition("@")
    return {
        "image": {"repository": repository, "digest": digest},
        "port": port,
        "silence": 20,
        "kernels": {"image": PODS_IMAGE, "priorityClasses": False},
    }


def sign_in(ada: Person, accounts: str) -> None:
    password = re.search(r"all with the password (\w+)", accounts)
    assert password is not None, accounts
    ada.sign_in("ada", password[1])


def open_the_tutorial(ada: Person) -> None:
    ada.visit("/c/demo/")
    ada.page.get_by_role("button", name="Open · Arrays, plots and sliders").click()
    ada.waits_for_notebook()


def run(ada: Person, words: str, source: str, *, prints: str) -> None:
    """Types `source` over the cell with those words, runs it, and reads its output."""
    ada.types(ada.cell(words), source)
    ada.page.keyboard.press("Shift+Enter")
    expect(ada.notebook.locator(".jp-OutputArea-output", has_text=prints).first).to_be_visible(timeout=90_000)
