"""A kernel that is not Python's in a workspace: asked for over REST, started by the `runtimes` process."""

from __future__ import annotations

import pytest

from runtimes import launch, provider, storage
from runtimes.models import Kernel
from tests.runtimes.process import RuntimesProcess
from tests.runtimes.providers import environment_with_bash
from tests.runtimes.waiting import run, until

# The first one makes the environment.
pytestmark = [pytest.mark.sandbox, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


@pytest.fixture
def process(settings):
    settings.KERNEL_ENVIRONMENT = str(environment_with_bash().folder)
    with RuntimesProcess(KERNEL_ENVIRONMENT=settings.KERNEL_ENVIRONMENT) as one:
        yield one


async def test_bash_beside_python_on_one_disk_restarted_in_its_folder_and_its_files_kept(process, workspace):
    assert sorted(provider.get().kernelspecs(workspace.profile.environment)) == ["bash", "gone"]
    await storage.awrite(workspace, "d/x.txt", b"from the site", source="saved")
    runtime = await launch.alaunch(workspace)
    python = await launch.astart_kernel(runtime)
    bash = await launch.astart_kernel(runtime, name="bash", cwd="d")
    bash = await launch.kernel_ready(bash, timeout=120)
    assert (bash.name, bash.index) == ("bash", 1)
    assert await run(bash.runtime, bash, "cat x.txt; answer=42; echo from bash > out.txt") == "from the site\n"
    python = await launch.kernel_ready(python, timeout=60)
    assert await run(python.runtime, python, "print(open('d/out.txt').read(), end='')") == "from bash\n"
    bash = await launch.arestart(bash)
    assert await run(bash.runtime, bash, 'echo "[$answer]"; pwd') == "[]\n/home/student/d\n"
    assert await storage.pull(bash.runtime) == ["d/out.txt"]
    await launch.astop_kernel(bash)
    await until(Kernel.objects.filter(pk=bash.pk, state=Kernel.State.DEAD).exists)
