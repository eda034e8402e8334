"""The parts of the sandbox that need none: keys, messages, archives, the filter, limits, the host's shortcomings."""

from __future__ import annotations

import ctypes
import errno
import io
import json
import os
import resource
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from runtimes import kernelspecs, keyring
from runtimes.agent import archive, enclosure, layout, mover, wire
from runtimes.agent.files import Bounds, Home
from runtimes.agent.gauges import Gauges
from runtimes.agent.kernels import Kernel, Kernels
from runtimes.kernelspecs import Kernelspec
from runtimes.keys import Keys, connection_keys
from runtimes.provider import (
    ISOLATION_WORDS,
    REASON_SENTENCES,
    Endpoint,
    Limits,
    Network,
    Phase,
    Reason,
    SandboxUnavailable,
    Status,
)
from runtimes.sandboxes import bubblewrap, cgroups, environment, host, processes, seccomp
from runtimes.sandboxes.cgroups import Group
from runtimes.sandboxes.config import SandboxConfig
from runtimes.sandboxes.environment import EnvironmentFailed
from runtimes.sandboxes.sandbox import isolation_codes, rlimits

MASTER = b"0123456789abcdef"


# --- keys and endpoints


def test_keys_are_the_same_for_the_same_runtime_and_others_for_another() -> None:
    first = connection_keys(MASTER, 1, "one")
    assert first == connection_keys(MASTER, 1, "one")
    others = [
        connection_keys(MASTER, 1, "two"),
        connection_keys(MASTER, 2, "one"),
        connection_keys(b"x" * 16, 1, "one"),
    ]
    assert len({keys.hmac_key for keys in (first, *others)}) == 4
    assert len({keys.curve_secret for keys in (first, *others)}) == 4


def test_curve_keys_belong_together() -> None:
    keys = connection_keys(MASTER, 1, "one")
    assert zmq.curve_public(keys.curve_secret.encode()).decode() == keys.curve_public


def test_a_short_master_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        connection_keys(b"short", 1, "one")


def test_keys_do_not_show_in_logs() -> None:
    keys = connection_keys(MASTER, 1, "one")
    assert keys.hmac_key not in repr(keys)
    assert keys.curve_secret not in repr(keys)


def test_an_endpoint_finds_its_keys_by_the_version_it_was_made_with(settings) -> None:
    settings.MASTER_KEY, settings.MASTER_KEY_VERSION = "the old master key", 1
    endpoint = Endpoint("ipc", "/run/x", "identity", 1)
    before = keyring.keys_of(endpoint)
    settings.MASTER_KEYS_BEFORE = {1: "the old master key"}
    settings.MASTER_KEY, settings.MASTER_KEY_VERSION = "the new master key", 2
    assert keyring.keys_of(endpoint) == before
    assert keyring.current()[0] == 2


def test_kernels_and_channels_have_addresses_of_their_own() -> None:
    keys = connection_keys(MASTER, 1, "one")
    for endpoint in (Endpoint("ipc", "/run/x", "i"), Endpoint("tcp", "10.1.2.3", "i")):
        urls = {endpoint.agent_url}
        for index in range(layout.MAX_KERNELS):
            connection = endpoint.kernel_info(index, keys)
            urls |= {layout.channel_url(connection, channel) for channel in layout.CHANNELS}
        assert len(urls) == 1 + layout.MAX_KERNELS * len(layout.CHANNELS)
    with pytest.raises(ValueError, match="index"):
        Endpoint("ipc", "/run/x", "i").kernel_info(layout.MAX_KERNELS, keys)


def test_every_reason_and_wall_has_words() -> None:
    assert set(REASON_SENTENCES) == set(Reason) - {Reason.NONE}
    codes = {
        code
        for group in (Group({}), Group(dict.fromkeys(cgroups.CONTROLLERS, Path("/x"))))
        for network in Network
        for program in (True, False)
        for how in ("forked", "strict")
        for code in isolation_codes(group, how, network, program=program)
    }
    assert codes <= set(ISOLATION_WORDS)
    status = Status(Phase.LOST, Reason.OUT_OF_MEMORY, isolation=("forked", "cpu-none"))
    assert "memory" in status.sentence
    assert "not limited" in status.isolation_words


# --- messages and archives


def test_a_message_is_read_only_with_the_right_key() -> None:
    frames = wire.pack(b"key", {"id": 1, "verb": "status"}, b"payload")
    assert wire.unpack(b"key", frames) == ({"id": 1, "verb": "status"}, b"payload")
    tampered = [frames[0], frames[1].replace(b"status", b"stopped"), frames[2]]
    for key, parts in (
        (b"other", frames),
        (b"key", tampered),
        (b"key", frames[:2]),
        (b"key", [*frames[:2], b"longer one"]),
    ):
        with pytest.raises(wire.BadMessage):
            wire.unpack(key, parts)


def _tar(*entries: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for entry in entries:
            made.addfile(entry, io.BytesIO(bytes(entry.size)))
    return buffer.getvalue()


def _entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, target
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        _entry("../up"),
        _entry("/etc/passwd"),
        _entry("a/../../b"),
        _entry("link", tarfile.SYMTYPE, target="/etc/passwd"),
        _entry("hard", tarfile.LNKTYPE, target="x"),
        _entry("device", tarfile.CHRTYPE),
        _entry("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda entry: entry.name,
)
def test_an_archive_with_anything_but_plain_safe_files_is_refused(entry: tarfile.TarInfo) -> None:
    with pytest.raises(archive.ArchiveRefused):
        archive.unpack_files(_tar(entry))


def test_of_a_files_mode_an_archive_says_only_whether_it_may_be_run(tmp_path: Path) -> None:
    files = {name: name.encode() for name in ("a", "b")}
    payload = archive.pack_files(files, {"a"})
    unpacked = archive.unpack_files(payload)
    assert (unpacked, unpacked.executable) == (files, {"a"})
    hostile = []
    for name, mode in (("setuid", 0o4755), ("every", 0o7777), ("others", 0o7066), ("older-agent", 0o600)):
        hostile.append(_entry(name))
        hostile[-1].mode = mode
    found = archive.unpack_files(_tar(*hostile))
    Home(str(tmp_path)).write(found, found.executable)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"setuid": 0o755, "every": 0o755, "others": 0o644, "older-agent": 0o644}


def test_an_archive_larger_than_asked_for_is_refused() -> None:
    payload = _tar(_entry("a", size=600), _entry("b", size=600))
    assert set(archive.unpack_files(payload)) == {"a", "b"}
    for limits in ({"max_files": 1}, {"max_bytes": 1000}):
        with pytest.raises(archive.ArchiveRefused):
            archive.unpack_files(payload, **limits)
    for broken in (payload[:700], b"not a tar" * 100):
        with pytest.raises(archive.ArchiveRefused):
            archive.unpack_files(broken)


def test_a_file_that_vanishes_or_changes_during_a_pull_is_told_the_next_time(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    bounds = Bounds(100, 1 << 20, 1 << 20)
    (tmp_path / "a").write_text("one")
    found = home.changes(bounds, again=True)
    (tmp_path / "a").write_text("two")
    home.acknowledge(found.token, [])
    assert home.changes(bounds, again=True).files == [("a", b"two")]


def test_what_the_other_side_has_no_room_for_is_only_named(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    home.write({"had": b"1"})
    (tmp_path / "had").write_bytes(b"grown")
    (tmp_path / "new").write_bytes(b"five!")
    found = home.changes(Bounds(10, 100, 100, room=4), again=True)
    assert (found.files, found.skipped) == ([("had", b"grown")], {"new": "no-room"})
    assert home.changes(Bounds(10, 100, 100, room=5), again=True).skipped == {}


def test_what_is_gone_is_told_in_parts_that_a_header_has_room_for_and_before_what_is_new(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    # Escaped, each name has three times its bytes.
    names = {f"été/{'é' * 120}/{'é' * 100}{number}" for number in range(4000)}
    home.write(dict.fromkeys(names, b""))
    shutil.rmtree(tmp_path / "été")
    (tmp_path / "été").write_bytes(b"a file by now")
    asked = {"max_files": 2000, "max_bytes": 1000, "max_file_bytes": 1000, "again": True}
    assert len(json.dumps(sorted(names))) > wire.MAX_HEADER_BYTES
    gone, new, parts = set[str](), {}, 0
    while True:
        header, payload = mover.pull(home, asked)
        assert len(wire.pack(b"", header, payload)[1]) < wire.MAX_HEADER_BYTES
        gone |= set(header["deleted"])
        new |= archive.unpack_files(payload)
        parts += 1
        mover.acknowledge(home, {"token": header["token"], "without": []})
        if not header["more"]:
            break
        assert not new
    assert (gone, new, parts) == (names, {"été": b"a file by now"}, 6)


def test_so_many_things_that_are_not_files_as_a_header_has_no_room_for_hold_up_no_pull(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["é" * 120] * 8)
    folder.mkdir(parents=True)
    for number in range(1000):
        (folder / f"{'é' * 120}{number}").symlink_to("x")
    (tmp_path / "kept").write_bytes(b"k")
    asked = {"max_files": 2000, "max_bytes": 1000, "max_file_bytes": 1000, "again": True}
    header, payload = mover.pull(Home(str(tmp_path)), asked)
    assert len(wire.pack(b"", header, payload)[1]) < wire.MAX_HEADER_BYTES
    assert (archive.unpack_files(payload), header["more"]) == ({"kept": b"k"}, False)


def test_a_pushed_file_replaces_a_link_of_the_same_name(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    root = tmp_path / "home"
    root.mkdir()
    (root / "a").symlink_to(outside)
    Home(str(root)).write({"a": b"new"})
    assert outside.read_text() == "untouched"
    assert (root / "a").read_bytes() == b"new"


def test_a_kernel_that_is_busy_is_not_idle() -> None:
    kernels = Kernels()
    kernels.add(Kernel(0, {}, "", state="busy"))
    kernels.add(Kernel(1, {}, "", state="idle"))
    assert kernels.idle_seconds(0) == 0.0


# --- the filter


@pytest.mark.parametrize("machine", sorted(seccomp.MACHINES))
def test_the_filter_is_a_valid_program(machine: str) -> None:
    program = seccomp.program(machine)
    assert len(program) % 8 == 0
    instructions = [struct.unpack("=HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    assert len(instructions) < 4096
    for at, (code, yes, no, _value) in enumerate(instructions):
        if code & 0x07 == 0x05:
            assert at + 1 + max(yes, no) < len(instructions)
    assert instructions[-1][0] == 0x06


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(seccomp.UnknownMachine):
        seccomp.program("riscv64")


def test_the_numbers_of_system_calls_are_those_of_libseccomp() -> None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp IS NOT INSTALLED: the table of system calls was not compared")
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    for machine in seccomp.MACHINES.values():
        own = {
            "clone": machine.clone,
            "socket": machine.socket,
            "socketpair": machine.socketpair,
            "ioctl": machine.ioctl,
            "setsockopt": machine.setsockopt,
            "clone3": seccomp.CLONE3,
        }
        denied = {name: numbers[machine.column] for name, numbers in seccomp.DENIED.items()}
        for name, number in {**denied, **own}.items():
            known = library.seccomp_syscall_resolve_name_arch(machine.architecture, name.encode())
            if number is not None and known != -1:
                assert number == known, name


# --- limits


def test_rlimits_stand_in_for_control_groups_that_are_missing() -> None:
    limits = Limits(memory_bytes=1 << 28, processes=50)
    everything = Group(dict.fromkeys(cgroups.CONTROLLERS, Path("/x")))
    assert not {"DATA", "NPROC"} & set(rlimits(limits, everything))
    alone = rlimits(limits, Group({}))
    assert (alone["DATA"], alone["NPROC"], alone["CORE"]) == (1 << 28, 50, 0)


def _fake_v2(root: Path, own: str = "/app.slice/site") -> Path:
    """A host with control groups v2 alone."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n")
    (root / "proc/self/cgroup").write_text(f"0::{own}\n")
    here = root / "sys/fs/cgroup" / own.lstrip("/")
    here.mkdir(parents=True)
    (here / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (here / "cgroup.type").write_text("domain\n")
    (here / "cgroup.procs").write_text(f"{os.getpid()}\n")
    return here


def test_version_two_groups_get_their_limits_in_its_words(tmp_path: Path) -> None:
    here = _fake_v2(tmp_path)
    found = cgroups.find(root=tmp_path)
    assert found.controllers == {"memory", "pids", "cpu"}
    assert (here / "owner/cgroup.procs").read_text() == str(os.getpid())
    assert (here / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    group = found.create("k1", Limits(memory_bytes=1 << 28, processes=50, cpu_cores=1.5))
    folder = here / cgroups.FOLDER / "k1"
    read = {name: (folder / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")}
    assert read == {
        "memory.max": str(1 << 28),
        "memory.swap.max": "0",
        "pids.max": "50",
        "cpu.max": "150000 100000",
    }
    assert group.paths == [str(folder)]
    (folder / "memory.current").write_text("1000\n")
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    assert group.oom_kills() == 2
    assert group.cpu_seconds() is None
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n")
    assert group.cpu_seconds() == 2.5
    descriptors = group.open_gauges()
    gauges = Gauges.from_descriptors(descriptors, 1 << 28)
    assert (gauges.memory_bytes(), gauges.oom_kills(), gauges.limit_bytes) == (1000, 2, 1 << 28)
    for descriptor in descriptors:
        os.close(descriptor)


def test_the_root_of_version_twos_groups_keeps_its_processes(tmp_path: Path) -> None:
    here = _fake_v2(tmp_path, own="/")
    (here / "cgroup.type").unlink()
    assert cgroups.find(root=tmp_path).controllers == {"memory", "pids", "cpu"}
    assert not (here / cgroups.OWNER).exists()


def test_who_looks_for_version_twos_groups_again_finds_the_same(tmp_path: Path) -> None:
    here = _fake_v2(tmp_path)
    first = cgroups.find(root=tmp_path).create("k1", Limits())
    (tmp_path / "proc/self/cgroup").write_text("0::/app.slice/site/owner\n")
    (here / "cgroup.procs").write_text("")
    assert cgroups.find(root=tmp_path).create("k1", Limits()).paths == first.paths


LOOK = """
from runtimes.sandboxes import cgroups
found = cgroups.find()
print(*sorted(found.controllers), flush=True)
print(cgroups.find().create("k1", cgroups.Limits()).paths[0], flush=True)
"""


def _real_v2() -> Path | None:
    """Where a group of version 2 can be made with a memory controller, as root."""
    for kind, point, _options in cgroups._mounts(Path("/")):
        offered = point / "cgroup.subtree_control"
        if kind == "cgroup2" and os.geteuid() == 0 and "memory" in offered.read_text() and os.access(point, os.W_OK):
            return point
    return None


@pytest.mark.skipif(_real_v2() is None, reason="NO CONTROL GROUPS OF VERSION 2 HERE: only files that look like them")
def test_on_a_real_host_the_sites_processes_move_aside_together() -> None:
    """As a service whose processes all begin in one group."""
    point = _real_v2()
    assert point is not None
    group = point / "pupitre-test"
    group.mkdir()
    enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    try:
        with subprocess.Popen([*enter, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdin.write(b"here\n")
            other.stdin.flush()
            assert other.stdout.readline() == b"here\n"
            said = subprocess.run([*enter, sys.executable, "-c", LOOK], capture_output=True, text=True)
            others = (group / cgroups.OWNER / "cgroup.procs").read_text().split()
        assert said.stdout.split() == ["cpu", "memory", "pids", str(group / cgroups.FOLDER / "k1")], said.stderr
        assert others == [str(other.pid)]
    finally:
        for below in (group / cgroups.FOLDER / "k1", group / cgroups.FOLDER, group / cgroups.OWNER, group):
            if below.exists():
                below.rmdir()


def test_version_one_counts_kills_apart_from_the_switch_that_forbids_them(tmp_path: Path) -> None:
    (tmp_path / "memory.usage_in_bytes").write_text("5\n")
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 1\nunder_oom 0\noom_kill 3\n")
    assert Group({"memory": tmp_path}).oom_kills() == 3


def test_version_one_counts_processor_time_in_a_group_that_limits_nothing(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    mounts = "".join(f"cgroup /cg/{name} cgroup rw,{name} 0 0\n" for name in ("memory", "cpu", "cpuacct"))
    (tmp_path / "proc/self/mounts").write_text(mounts)
    (tmp_path / "proc/self/cgroup").write_text("3:memory:/\n2:cpuacct:/\n1:cpu:/\n")
    for name in ("memory", "cpu", "cpuacct"):
        (tmp_path / "cg" / name).mkdir(parents=True)
    found = cgroups.find(root=tmp_path)
    assert found.controllers == {"memory", "cpu"}
    group = found.create("k1", Limits())
    counted = tmp_path / "cg/cpuacct" / cgroups.FOLDER / "k1"
    assert list(counted.iterdir()) == []
    (counted / "cpuacct.usage").write_text("1500000000\n")
    assert group.cpu_seconds() == 1.5


def test_a_host_without_delegated_groups_has_none(tmp_path: Path) -> None:
    here = _fake_v2(tmp_path)
    (here / "cgroup.controllers").write_text("\n")
    assert cgroups.find(root=tmp_path).controllers == frozenset()
    assert cgroups.find(wanted=False).controllers == frozenset()


def test_a_pod_reads_its_own_group(tmp_path: Path) -> None:
    for name, text in (("memory.current", "7\n"), ("memory.max", "100\n"), ("memory.events", "oom_kill 1\n")):
        (tmp_path / name).write_text(text)
    gauges = Gauges.of_own_group(str(tmp_path))
    assert (gauges.memory_bytes(), gauges.oom_kills(), gauges.limit_bytes) == (7, 1, 100)
    assert gauges.cpu_seconds() is None
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nnr_periods 0\n")
    assert Gauges.of_own_group(str(tmp_path)).cpu_seconds() == 1.5
    nothing = Gauges.of_own_group(str(tmp_path / "none"))
    assert nothing.describe() == {
        "memory_bytes": None, "memory_limit_bytes": None, "cpu_seconds": None, "oom_kills": 0,
    }  # fmt: skip


def test_what_the_kernel_keeps_of_files_while_there_is_room_is_no_memory_in_use(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.usage_in_bytes").write_text("900\n")
    (tmp_path / "memory/memory.stat").write_text("inactive_file 5\ntotal_inactive_file 700\ntotal_active_file 1\n")
    assert Gauges.of_own_group(str(tmp_path)).memory_bytes() == 200
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 600\n")
    assert Gauges.of_own_group(str(tmp_path)).memory_bytes() == 300


def test_a_pod_of_version_one_reads_its_processor_time(tmp_path: Path) -> None:
    (tmp_path / "cpuacct").mkdir()
    (tmp_path / "cpuacct/cpuacct.usage").write_text("2500000000\n")
    assert Gauges.of_own_group(str(tmp_path)).cpu_seconds() == 2.5


def test_without_groups_processor_time_is_that_of_all_processes_also_of_those_that_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.pid in processes.inside(process.pid)
        assert set(processes.inside(process.pid)) < set(processes.inside(os.getpid()))
        seconds = processes.cpu_seconds(process.pid)
        assert seconds is not None
        assert 0.2 <= seconds < 5
        process.kill()
    assert processes.cpu_seconds(process.pid) is None


def test_an_end_for_want_of_memory_is_told_once_each(tmp_path: Path) -> None:
    for name, text in (("memory.current", "7\n"), ("memory.max", "100\n"), ("memory.events", "oom_kill 1\n")):
        (tmp_path / name).write_text(text)
    gauges = Gauges.of_own_group(str(tmp_path))
    assert [gauges.ran_out(), gauges.ran_out()] == [True, False]
    (tmp_path / "memory.events").write_text("oom_kill 2\n")
    assert gauges.ran_out()


def test_gvisor_shows_memory_and_counts_nobody_that_was_killed_for_it(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    for name, text in (("usage_in_bytes", "74670080\n"), ("limit_in_bytes", "419430400\n")):
        (tmp_path / f"memory/memory.{name}").write_text(text)
    gauges = Gauges.of_own_group(str(tmp_path))
    assert (gauges.memory_bytes(), gauges.limit_bytes, gauges.oom_kills()) == (74670080, 419430400, 0)
    assert [gauges.ran_out(), gauges.ran_out()] == [True, True]
    (tmp_path / "memory/memory.limit_in_bytes").write_text("9223372036854775807\n")
    assert not Gauges.of_own_group(str(tmp_path)).ran_out()


def _refusing(refused: str) -> Callable[[int, tuple[int, int]], None]:
    """setrlimit of a kernel that lets nobody set this one."""

    def setrlimit(number: int, _limits: tuple[int, int]) -> None:
        if number == getattr(resource, f"RLIMIT_{refused}"):
            raise ValueError("not allowed to raise maximum limit")

    return setrlimit


def test_only_the_limit_that_gvisor_lets_nobody_set_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enclosure.resource, "setrlimit", _refusing("MSGQUEUE"))
    enclosure.limit({"CORE": 0, "MSGQUEUE": 0, "NOFILE": 64})
    monkeypatch.setattr(enclosure.resource, "setrlimit", _refusing("NOFILE"))
    with pytest.raises(ValueError, match="not allowed"):
        enclosure.limit({"NOFILE": 64})


def test_room_is_what_was_set_or_follows_from_the_hosts_memory(tmp_path: Path) -> None:
    chosen = SandboxConfig(tmp_path, tmp_path, MASTER, most=7)
    assert chosen.capacity == 7
    assert SandboxConfig(tmp_path, tmp_path, MASTER).capacity >= 4


# --- the host


def test_a_host_without_bubblewrap_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.shutil, "which", lambda _name: None)
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        host.check(4242)


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces"),
        ("none", "", "container"),
    ],
)
def test_a_host_without_user_namespaces_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, advice: str
) -> None:
    failed = subprocess.CompletedProcess(["bwrap"], 1, "", "bwrap: No permissions to create new namespace")
    monkeypatch.setattr(host.subprocess, "run", lambda *_args, **_options: failed)
    monkeypatch.setattr(host, "_read", lambda path: value if path == setting else "")
    with pytest.raises(SandboxUnavailable) as refused:
        host.check(4242)
    assert advice in str(refused.value.user_message)
    assert not refused.value.retryable


def test_bubblewrap_shows_a_sandbox_neither_home_nor_checkout(tmp_path: Path) -> None:
    kernel = environment.KernelEnvironment("digest", tmp_path / "env", "3.12")
    features = host.Features(sized_tmpfs=True, disable_userns=True)
    numbers = {"owner": 3, "filter_fd": 4, "info_fd": 5, "block_fd": 6, "home_bytes": 1, "tmp_bytes": 2}
    for command in (
        bubblewrap.fork_server(tmp_path / "x", tmp_path / "s", kernel, listener=3, preload=("numpy",)),
        bubblewrap.program(tmp_path / "x", tmp_path / "s" / "k1", kernel, features=features, **numbers),
    ):
        shown = [command[at + 1] for at, word in enumerate(command) if word in ("--ro-bind", "--bind", "--ro-bind-try")]
        allowed = ("/usr", "/lib", "/bin", "/sbin", "/etc/", str(tmp_path))
        assert all(path.startswith(allowed) for path in shown), shown
        assert {"--clearenv", "--die-with-parent", "--new-session", "--unshare-all"} <= set(command)


# --- the environment


def test_an_environment_is_named_by_its_lock_and_not_by_its_comments(tmp_path: Path) -> None:
    facts = {"build": "3.12", "machine": "x86_64"}
    lock = tmp_path / "kernel.txt"
    lock.write_text("# made by ada\nnumpy==2.0\n")
    first = environment._digest(lock, facts, None)
    lock.write_text("# made by ben\nnumpy==2.0\n")
    assert environment._digest(lock, facts, None) == first
    lock.write_text("numpy==2.1\n")
    assert environment._digest(lock, facts, None) != first


def test_kernels_that_are_added_to_an_environment_are_part_of_its_name(tmp_path: Path) -> None:
    facts = {"build": "3.12", "machine": "x86_64"}
    lock, kernel = tmp_path / "kernel.txt", tmp_path / "kernels" / "ir" / "kernel.json"
    lock.write_text("numpy==2.0\n")
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["R"]}')
    with_r = environment._digest(lock, facts, tmp_path / "kernels")
    assert with_r != environment._digest(lock, facts, None)
    kernel.write_text('{"argv": ["R", "--slave"]}')
    assert with_r != environment._digest(lock, facts, tmp_path / "kernels")


def test_a_kernelspec_that_is_none_is_left_out_and_pythons_is_ours(tmp_path: Path) -> None:
    for name, text in (
        ("python3", '{"argv": ["python"]}'),
        ("ir", '{"argv": ["R"], "display_name": "R", "language": "R"}'),
        ("broken", "{"),
        ("empty", '{"argv": []}'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernel.json").write_text(text)
    (tmp_path / "logo.png").write_bytes(b"")
    assert kernelspecs.read(tmp_path) == {"ir": Kernelspec("ir", "R", "r")}


def test_a_half_made_environment_is_never_found(tmp_path: Path) -> None:
    lock = tmp_path / "kernel.txt"
    lock.write_text("no-such-package-of-ours==1.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(EnvironmentFailed, match="run the same command again"):
        environment.ensure(lock, tmp_path / "envs", uv=Path("/bin/false"))
    assert environment.installed(tmp_path / "envs") == []
    assert not list((tmp_path / "envs").glob("kernel-*"))


def test_an_environment_is_a_whole_readable_interpreter(settings) -> None:
    from tests.runtimes.providers import environments_dir

    found = environment.installed(environments_dir())[0]
    python = found.folder / "bin" / f"python{found.python_version}"
    answer = subprocess.run(
        [python, "-I", "-c", "import sys, os, ipykernel, numpy; print(sys.prefix, os.__file__, numpy.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        env={"LD_LIBRARY_PATH": str(found.folder / "lib")},
    ).stdout
    assert all(path.startswith(str(found.folder)) for path in answer.split())
    assert all(path.stat().st_mode & stat.S_IROTH for path in (python, found.folder / environment.READY))
    scripts = [path.read_bytes()[:40] for path in (found.folder / "bin").glob("pip*")]
    assert all(script.startswith(b"#!/opt/py/bin/python") for script in scripts)


def test_no_room_has_a_name_of_its_own() -> None:
    from runtimes.agent import mover

    assert {errno.ENOSPC, errno.EDQUOT} <= mover._NO_ROOM


def test_keys_are_plain_text(settings) -> None:
    keys = keyring.keys_of(Endpoint("ipc", "/x", "i", settings.MASTER_KEY_VERSION))
    assert isinstance(keys, Keys)
    assert len(bytes.fromhex(keys.hmac_key)) == 32
