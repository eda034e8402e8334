"""What every provider must do, the same for all: see `tests.runtimes.providers`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import pytest
import pytest_asyncio

from runtimes.agent_client import AgentClient, AgentUnreachable
from runtimes.image_trial import ImageTrial
from runtimes.keys import connection_keys
from runtimes.pods import trial
from runtimes.provider import (
    GIB,
    MIB,
    Endpoint,
    InvalidRequest,
    Limits,
    Machine,
    Network,
    NotOffered,
    NotReady,
    Phase,
    Provider,
    ProviderUnavailable,
    Reason,
    Request,
    Status,
    UnknownRuntime,
)
from tests.runtimes.providers import MASTER, PROVIDERS, Factory
from tests.runtimes.sandbox.notebook import (
    KILL_AGENT_FOR_EVER,
    WAIT,
    close_client,
    leave_nothing,
    ready_client,
    settled,
    start_notebook,
)

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module", params=sorted(PROVIDERS))
def factory(request: pytest.FixtureRequest) -> Factory:
    return PROVIDERS[request.param]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_provider(factory: Factory) -> AsyncIterator[Provider]:
    async with factory(0) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def provider(shared_provider: Provider) -> AsyncIterator[Provider]:
    """The same for all tests, and what one that failed has left there is gone before the next."""
    yield shared_provider
    await leave_nothing(shared_provider)


async def agent_of(provider: Provider, name: str) -> AgentClient:
    endpoint = await provider.endpoint(name)
    return AgentClient(endpoint, connection_keys(MASTER, endpoint.key_version, endpoint.identity))


async def test_a_runtime_is_acquired_used_and_released(provider: Provider) -> None:
    notebook = await start_notebook(provider, "whole-life")
    assert await notebook.run("print(6 * 7)") == "42\n"
    status = await provider.status("whole-life")
    assert status.phase is Phase.READY
    assert status.ready_at is not None
    assert status.deadline is not None
    assert status.isolation_words
    await notebook.close()
    await provider.release("whole-life")
    with pytest.raises(UnknownRuntime):
        await provider.status("whole-life")


async def test_acquire_returns_at_once_and_the_runtime_starts_by_itself(provider: Provider) -> None:
    status = await provider.acquire(Request("at-once"))
    assert status.phase in (Phase.STARTING, Phase.QUEUED)
    assert (await settled(provider, "at-once")).phase is Phase.READY
    await provider.release("at-once")


async def test_acquiring_twice_makes_one_runtime(provider: Provider) -> None:
    await asyncio.gather(*(provider.acquire(Request("once")) for _ in range(5)))
    await settled(provider, "once")
    first = await provider.endpoint("once")
    await provider.acquire(Request("once", limits=Limits(cpu_cores=0.5)))
    assert await provider.endpoint("once") == first
    assert [owned.name for owned in await provider.owned()].count("once") == 1
    await provider.release("once")


async def test_releasing_twice_or_the_unknown_is_no_error(provider: Provider) -> None:
    await provider.acquire(Request("gone"))
    await provider.release("gone")
    await provider.release("gone")
    await provider.release("never-was")


async def test_a_runtime_may_be_released_while_it_starts(provider: Provider) -> None:
    for _ in range(3):
        await provider.acquire(Request("early", kernels=1))
        await provider.release("early")
    assert "early" not in [owned.name for owned in await provider.owned()]


async def test_a_name_can_be_used_again_with_other_keys(provider: Provider) -> None:
    await provider.acquire(Request("again"))
    await settled(provider, "again")
    first = await provider.endpoint("again")
    await provider.release("again")
    await provider.acquire(Request("again"))
    await settled(provider, "again")
    assert (await provider.endpoint("again")).identity != first.identity
    await provider.release("again")


async def test_a_released_runtime_answers_nobody(provider: Provider) -> None:
    await provider.acquire(Request("silent", kernels=1))
    await settled(provider, "silent")
    async with await agent_of(provider, "silent") as agent:
        assert (await agent.status()).kernel(0) is not None
        await provider.release("silent")
        with pytest.raises(AgentUnreachable):
            await agent._ask("status", timeout=0.5)


async def test_an_endpoint_survives_json_and_needs_no_more_than_the_master_key(provider: Provider) -> None:
    await provider.acquire(Request("stored", kernels=1))
    await settled(provider, "stored")
    endpoint = Endpoint.from_json((await provider.endpoint("stored")).to_json())
    client = await ready_client(endpoint, connection_keys(MASTER, endpoint.key_version, endpoint.identity))
    close_client(client)
    await provider.release("stored")


async def test_there_is_no_endpoint_before_the_runtime_is_ready(provider: Provider) -> None:
    await provider.acquire(Request("not-yet"))
    if (await provider.status("not-yet")).phase is not Phase.READY:
        with pytest.raises(NotReady):
            await provider.endpoint("not-yet")
    await provider.release("not-yet")
    with pytest.raises(UnknownRuntime):
        await provider.endpoint("not-yet")


async def test_processor_time_is_counted_whatever_used_it(provider: Provider) -> None:
    notebook = await start_notebook(provider, "counted")

    async def used() -> float | None:
        told = await provider.cpu_seconds("counted")
        return (await notebook.agent.status()).cpu_seconds if told is None else told

    before = await used()
    burn = "import time\\nwhile time.process_time() < 0.3: pass"
    await notebook.run(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', '{burn}'])")
    after = await used()
    assert before is not None
    assert after is not None
    assert 0.3 <= after - before < 10
    await notebook.close()
    await provider.release("counted")
    assert await provider.cpu_seconds("counted") is None


async def test_a_runtime_is_slowed_down_and_has_its_speed_back(provider: Provider) -> None:
    notebook = await start_notebook(provider, "slowed")

    async def cores(seconds: float) -> float:
        """Processors in use, on average for so long."""
        seen = []
        for wait in (seconds, 0.0):
            told = await provider.cpu_seconds("slowed")
            told = (await notebook.agent.status()).cpu_seconds if told is None else told
            assert told is not None
            seen.append((told, time.monotonic()))
            await asyncio.sleep(wait)
        (used, began), (all_used, ended) = seen
        return (all_used - used) / (ended - began)

    async with asyncio.timeout(WAIT):
        await notebook.run("import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'while 1: pass'])")
        if not await provider.throttle("slowed", 0.1):
            pytest.skip("NOTHING CAN BE SLOWED DOWN here")
        assert await provider.throttle("slowed", 0.1)
        # A cluster obeys a moment later.
        while await cores(1) > 0.15:
            pass
        assert await notebook.run("print(6 * 7)") == "42\n"
        assert await provider.throttle("slowed", None)
        while await cores(0.3) < 0.25:
            pass
    await notebook.close()
    await provider.release("slowed")
    with pytest.raises(UnknownRuntime):
        await provider.throttle("slowed", None)


async def test_every_change_is_an_event(provider: Provider) -> None:
    told: list[tuple[str, Status]] = []
    ready = asyncio.Event()

    async def listen() -> None:
        async for name, status in provider.events():
            told.append((name, status))
            if status.phase is Phase.READY:
                ready.set()
            if status.phase is Phase.STOPPED:
                return

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await provider.acquire(Request("eventful"))
    # A slow reader may miss all but the last one: this one has been told before the end is asked for.
    await asyncio.wait_for(ready.wait(), WAIT)
    await provider.release("eventful", reason=Reason.IDLE)
    await asyncio.wait_for(listening, WAIT)
    assert {name for name, _status in told} == {"eventful"}
    assert told[-1][1].reason is Reason.IDLE
    assert Phase.READY in [status.phase for _name, status in told]


async def test_everything_that_exists_is_owned(provider: Provider) -> None:
    await provider.acquire(Request("mine"))
    await settled(provider, "mine")
    mine = next(owned for owned in await provider.owned() if owned.name == "mine")
    assert mine.status.phase is Phase.READY
    assert mine.identity == (await provider.endpoint("mine")).identity
    await provider.release("mine")
    assert "mine" not in [owned.name for owned in await provider.owned()]


async def test_the_lifetime_ends_a_runtime(provider: Provider) -> None:
    await provider.acquire(Request("mortal", limits=Limits(lifetime=timedelta(seconds=0.5))))
    status = await settled(provider, "mortal", Phase.STOPPED)
    assert status.reason is Reason.LIFETIME
    assert status.sentence
    assert (await provider.status("mortal")).phase is Phase.STOPPED
    await provider.release("mortal")


async def test_a_grace_lets_a_kernel_finish(provider: Provider) -> None:
    notebook = await start_notebook(provider, "graceful")
    agent = notebook.agent
    await notebook.run("import atexit, signal, sys\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(0))")
    assert (await agent.status()).kernel(0) is not None
    await provider.release("graceful", grace=timedelta(seconds=5))
    await notebook.close()


async def test_a_dead_runtime_is_told_and_remembered_until_it_is_released(provider: Provider) -> None:
    # A job's: for people the place is kept, and the kernel is said to have died.
    notebook = await start_notebook(provider, "dying", purpose="grading")
    notebook.client.execute(KILL_AGENT_FOR_EVER)
    status = await settled(provider, "dying", Phase.LOST)
    assert status.phase is Phase.LOST
    assert status.reason
    assert status.sentence
    assert (await provider.status("dying")).phase is Phase.LOST
    await notebook.close()
    await provider.release("dying")


@pytest.mark.parametrize(
    "request_",
    [
        Request("Not A Label"),
        Request(""),
        Request("x" * 64),
        Request("kernels", kernels=99),
        Request("memory", limits=Limits(memory_bytes=1)),
        Request("cpu", limits=Limits(cpu_cores=0)),
        Request("life", limits=Limits(lifetime=timedelta(0))),
    ],
    ids=lambda request: request.name[:10] or "empty",
)
async def test_an_impossible_request_is_refused_with_a_sentence(provider: Provider, request_: Request) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await provider.acquire(request_)
    assert str(refused.value.user_message)
    assert not refused.value.retryable


async def test_what_is_not_offered_is_refused(provider: Provider) -> None:
    with pytest.raises(NotOffered):
        await provider.acquire(Request("elsewhere", environment="0000000000000000"))


async def test_the_current_environment_can_be_asked_for_by_its_digest(provider: Provider) -> None:
    digest = (await provider.environments())[0]
    await provider.acquire(Request("by-digest", environment=digest))
    assert (await settled(provider, "by-digest")).phase is Phase.READY
    await provider.release("by-digest")


async def test_an_image_that_is_there_is_found_good_and_no_trial_is_a_runtime(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody waits for a page: on a busy cluster it takes longer than a person would.
    monkeypatch.setattr(trial, "PATIENCE_SECONDS", 90.0)
    monkeypatch.setattr(trial, "ROOM_SECONDS", 30.0)
    before = {one.identity for one in await provider.owned()}
    assert await provider.try_image(Request("tried")) == ImageTrial()
    assert {one.identity for one in await provider.owned()} <= before


async def test_files_pushed_to_a_runtime_are_seen_by_its_kernels(provider: Provider) -> None:
    notebook = await start_notebook(provider, "files")
    await notebook.agent.push({"data.txt": b"pushed"})
    assert await notebook.run("print(open('data.txt').read())") == "pushed\n"
    await notebook.run("open('new.txt', 'w').write('made')")
    assert (await notebook.agent.pull()).files == {"new.txt": b"made"}
    await notebook.close()
    await provider.release("files")


async def test_what_pip_installs_is_pulled_with_the_files_and_there_in_the_next_runtime(provider: Provider) -> None:
    notebook = await start_notebook(provider, "installs")
    await notebook.agent.push({"answers-1.0-py3-none-any.whl": a_wheel()})
    said = await notebook.run("%pip install --no-index answers-1.0-py3-none-any.whl")
    assert "Successfully installed answers-1.0" in said
    assert await notebook.value("import answers; R = answers.ANSWER") == 42
    assert await notebook.value(_COMMAND) == "42\n"
    pulled = await notebook.agent.pull()
    installed = {path: data for path, data in pulled.files.items() if path.startswith(".local/")}
    await notebook.close()
    await provider.release("installs")
    following = await start_notebook(provider, "goes-on", kernels=0)
    await following.agent.push(installed, executable=pulled.executable)
    await following.agent.start_kernel(0)
    following.client = await ready_client(following.endpoint, following.keys)
    assert await following.value("import answers; R = answers.ANSWER") == 42
    assert await following.value(_COMMAND) == "42\n"
    await following.close()
    await provider.release("goes-on")


_COMMAND = "import os, subprocess; R = subprocess.check_output([os.path.expanduser('~/.local/bin/answer')], text=True)"


async def test_with_scratch_what_pip_installs_is_no_memory_and_there_in_the_next_runtime(provider: Provider) -> None:
    # Half of the memory is taken by kernel, pip and agent: it has no room for the package.
    much = {"machine": Machine("much", scratch_bytes=2 * GIB), "limits": Limits(memory_bytes=300 * MIB)}
    if await provider.refusal(Request("installs-much", **much)):
        with pytest.raises(NotOffered, match="scratch space"):
            await provider.acquire(Request("installs-much", **much))
        return
    notebook = await start_notebook(provider, "installs-much", **much)
    data = {f"answers_data/{number}.bin": bytes(50 * MIB) for number in range(4)}
    before = (await notebook.agent.status()).memory_bytes
    await notebook.agent.push({"answers-1.0-py3-none-any.whl": a_wheel(data)})
    said = await notebook.run("%pip install --no-index answers-1.0-py3-none-any.whl")
    assert "Successfully installed answers-1.0" in said
    assert await notebook.value(_IN_MEMORY) == {"~": True, "~/.local": False, "/scratch": False, "/var/tmp": False}
    assert await notebook.value("import tempfile; R = tempfile.gettempdir()") == "/var/tmp"
    after = (await notebook.agent.status()).memory_bytes
    assert before is None or after is None or after - before < 100 * MIB
    following = await start_notebook(provider, "goes-on-much", **{**much, "kernels": 0})
    more = True
    while more:
        pulled = await notebook.agent.pull()
        for path, content in pulled.files.items():
            await following.agent.push({path: content})
        await notebook.agent.acknowledge(pulled.token)
        more = pulled.more
    assert not pulled.skipped
    await notebook.close()
    await provider.release("installs-much")
    await following.agent.start_kernel(0)
    following.client = await ready_client(following.endpoint, following.keys)
    sizes = "import answers, answers_data, os\nfolder = next(iter(answers_data.__path__))\n"
    sizes += "R = answers.ANSWER, sum(os.stat(f'{folder}/{name}').st_size for name in os.listdir(folder))"
    assert await following.value(sizes) == (42, 200 * MIB)
    assert (await following.value(_IN_MEMORY))["~/.local"] is False
    await following.close()
    await provider.release("goes-on-much")


# Which of these folders are in memory, by the mount that each lies in.
_IN_MEMORY = """
import os
kinds = {place: kind for _, place, kind, *_ in map(str.split, open('/proc/mounts'))}
R = {}
for name in ('~', '~/.local', '/scratch', '/var/tmp'):
    place = os.path.realpath(os.path.expanduser(name))
    while not os.path.ismount(place):
        place = os.path.dirname(place)
    R[name] = kinds[place] == 'tmpfs'
"""


def a_wheel(data: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
    """The smallest that pip installs: https://packaging.python.org/en/latest/specifications/binary-distribution-format/

    data: what else it holds."""
    info = "answers-1.0.dist-info"
    files: dict[str, str | bytes] = {
        **data,
        "answers.py": "ANSWER = 42\ndef tell():\n    print(ANSWER)\n",
        f"{info}/entry_points.txt": "[console_scripts]\nanswer = answers:tell\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: answers\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, text in {**files, f"{info}/RECORD": "".join(f"{name},,\n" for name in files)}.items():
            wheel.writestr(name, text)
    return made.getvalue()


async def test_two_runtimes_see_nothing_of_each_other(provider: Provider) -> None:
    one, two = [await start_notebook(provider, name) for name in ("left", "right")]
    await one.run("open('/tmp/secret', 'w').write('x'); open('secret', 'w').write('x')")
    assert await two.value("import os; R = [os.path.exists('/tmp/secret'), os.path.exists('secret')]") == [False, False]
    for notebook in (one, two):
        await notebook.close()
        await provider.release(notebook.name)


async def test_without_a_network_only_loopback_is_there(provider: Provider) -> None:
    notebook = await start_notebook(provider, "lonely", network=Network.NONE)
    if "network-unproven" in (await provider.status("lonely")).isolation:
        await notebook.close()
        await provider.release("lonely")
        pytest.skip("NOT PROVEN HERE: whether this cluster enforces its NetworkPolicies")
    found = await notebook.value(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "try:\n    s.connect(('192.0.2.1', 9)); R = 'reached'\nexcept OSError: R = 'refused'\ns.close()"
    )
    assert found == "refused"
    await notebook.close()
    await provider.release("lonely")


async def test_a_warm_runtime_is_ready_at_once_and_used_once(provider: Provider) -> None:
    template = Request("any", kernels=1, purpose="grading", limits=Limits(memory_bytes=400 << 20))
    # What cannot be run keeps nothing else from being warm.
    never = Request("never", machine=Machine(cpu_request=-1))
    never, template = (replace(one, machine=replace(one.machine, slug=one.name)) for one in (never, template))
    wishes = [(never, 1), (template, 1)]
    async with asyncio.timeout(WAIT):
        while not (ready := await provider.keep_warm(wishes)).get("any"):
            await asyncio.sleep(0.02)
    assert any(owned.name == "" and owned.status.phase is Phase.READY for owned in await provider.owned())
    assert ready == {"any": 1}
    identities = set()
    for name in ("first", "second"):
        async with asyncio.timeout(WAIT):
            status = await provider.acquire(replace(template, name=name))
            while not status.phase.final and status.phase is not Phase.READY:
                status = await settled(provider, name)
        identities.add((await provider.endpoint(name)).identity)
    assert len(identities) == 2
    await provider.keep_warm([])
    for name in ("first", "second"):
        await provider.release(name)
    async with asyncio.timeout(WAIT):
        while [owned for owned in await provider.owned() if owned.name == ""]:
            await asyncio.sleep(0.02)


async def test_a_full_provider_queues_and_tells_the_position(factory: Factory) -> None:
    async with factory(1) as small:
        await small.acquire(Request("one"))
        assert (await settled(small, "one")).phase is Phase.READY
        assert (await small.acquire(Request("two"))).queue_position == 1
        waiting = await small.acquire(Request("three"))
        assert (waiting.phase, waiting.reason, waiting.queue_position) == (Phase.QUEUED, Reason.CAPACITY_WAIT, 2)
        await small.release("two")
        assert (await small.status("three")).queue_position == 1
        await small.release("one")
        assert (await settled(small, "three")).phase is Phase.READY


async def test_a_closed_provider_says_so(factory: Factory) -> None:
    async with factory(0) as made:
        await made.acquire(Request("closing"))
        await made.close()
        with pytest.raises(ProviderUnavailable):
            await made.acquire(Request("late"))


async def test_many_runtimes_start_at_once(provider: Provider) -> None:
    names = [f"many-{number}" for number in range(6)]
    for name in names:
        await provider.acquire(Request(name, kernels=1))
    statuses = [await settled(provider, name) for name in names]
    assert {status.phase for status in statuses} == {Phase.READY}
    await asyncio.gather(*(provider.release(name) for name in names))
    with contextlib.suppress(UnknownRuntime):
        await provider.status(names[0])
    assert not [owned for owned in await provider.owned() if owned.name in names]
