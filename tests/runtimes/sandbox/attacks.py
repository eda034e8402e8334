"""What hostile code tries from inside one sandbox while another one lives. Each attack sets R; `fails` judges it.

Names that a code may use: VICTIM (the other slot's name), HOSTPORT (a listener on the host's loopback), NEEDLES (the
other sandbox's secrets, cut in two so that the code itself does not hold them), ABSTRACT (a host socket).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PREAMBLE = r"""
import os, sys, ctypes, socket, errno, struct, subprocess, time, signal, threading, fcntl, platform
libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == 'aarch64'
def call(x86, arm, *arguments):
    converted = [ctypes.c_ulong(a & (2**64-1)) if isinstance(a, int) else a for a in arguments]
    number = arm if ARM else x86
    if number is None:
        return (-1, 'ENOSYS')
    result = libc.syscall(ctypes.c_long(number), *converted)
    return result, errno.errorcode.get(ctypes.get_errno()) if result < 0 else ''
def tried(act):
    try:
        return act()
    except BaseException as error:
        return type(error).__name__ + 'Error: ' + str(error)[:90]
"""


@dataclass(frozen=True)
class Attack:
    """sentence: what must be true."""

    sentence: str
    code: str
    fails: Callable[[Any], bool]


def refused(found: Any) -> bool:
    """Every attempt raised."""
    return all("Error" in str(item) for item in found)


def all_minus_one(found: Any) -> bool:
    """Every system call failed."""
    return all(item[0] == -1 for item in found)


#: R: nodes beside the harmless ones.
NODES = (
    "R = sorted(x for x in os.listdir('/dev') if x not in "
    "('null', 'zero', 'full', 'random', 'urandom', 'tty', 'console', "
    "'stdin', 'stdout', 'stderr', 'fd', 'shm', 'pts', 'ptmx', 'core'))"
)
#: A Unix socket of the host's without a file, which the tests listen on.
ABSTRACT = "pupitre-attack"

ATTACKS = (
    Attack(
        "nothing of another sandbox is in my memory",
        r"""
R = []
for line in open('/proc/self/maps'):
    parts = line.split()
    if 'r' not in parts[1] or (len(parts) > 5 and parts[5] in ('[vvar]', '[vsyscall]', '[vvar_vclock]')):
        continue
    start, end = [int(x, 16) for x in parts[0].split('-')]
    try:
        with open('/proc/self/mem', 'rb') as memory:
            memory.seek(start)
            content = memory.read(end - start)
    except Exception:
        continue
    # Never puts the halves together: that would be one more copy to find.
    for front, back in NEEDLES:
        at = content.find(front.encode())
        while at >= 0:
            if content[at + len(front):at + len(front) + len(back)] == back.encode():
                R.append((front[:4], parts[-1]))
            at = content.find(front.encode(), at + 1)
    del content
""",
        lambda found: found == [],
    ),
    Attack(
        "another sandbox's folder cannot be seen",
        "R = [tried(lambda: os.listdir('/slots')), tried(lambda: os.listdir('/proc/1/root/slots')), "
        "tried(lambda: open('/slots/VICTIM/a').read()), [x for x in os.listdir('/run/nb') if x[0] not in 'ka']]",
        lambda found: "VICTIM" not in str(found) and all("Error" in str(x) or x == [] for x in found),
    ),
    Attack(
        "nothing can be unmounted to see what is beneath",
        "R = [(path, libc.umount2(path.encode(), 2)) "
        "for path in ('/slots', '/tmp', '/proc', '/home/student', '/run/nb')]",
        lambda found: all(result == -1 for _path, result in found),
    ),
    Attack(
        "only my own sandbox's processes can be seen",
        "R = [sorted(int(x) for x in os.listdir('/proc') if x.isdigit()), os.getppid(), os.getsid(0) == os.getpid()]",
        lambda found: len(found[0]) <= 4 and found[0][0] == 1 and found[2] is True,
    ),
    Attack(
        "the agent cannot be read or traced",
        r"""
others = [p for p in os.listdir('/proc') if p.isdigit() and int(p) not in (1, os.getpid())]
agents = [p for p in others if tried(lambda: open(f'/proc/{p}/status').read()).count('PPid:\t1')]
R = [len(agents) > 0]
for p in agents:
    R += [tried(lambda: open(f'/proc/{p}/mem', 'rb').read(1)), tried(lambda: open(f'/proc/{p}/environ').read()),
          tried(lambda: os.listdir(f'/proc/{p}/fd')), tried(lambda: open(f'/proc/{p}/maps').read(9))]
""",
        lambda found: found[0] is True and refused(found[1:]),
    ),
    Attack(
        "processes cannot be traced, read or robbed of descriptors",
        "R = [call(101, 117, 16, 1, 0, 0), call(101, 117, 0x4206, 1, 0, 0), call(310, 270, 1, 0, 0, 0, 0, 0), "
        "call(311, 271, 1, 0, 0, 0, 0, 0), call(438, 438, 0, 0)]",
        all_minus_one,
    ),
    Attack(
        "pid 1 cannot be killed or stopped from inside",
        "tried(lambda: os.kill(1, 9)); tried(lambda: os.kill(1, 19)); time.sleep(0.1)\nR = os.path.exists('/proc/1')",
        lambda found: found is True,
    ),
    Attack(
        "the environment holds nothing of the host's",
        "R = [sorted(os.environ), open('/proc/self/environ').read(), tried(lambda: open('/proc/1/environ').read())]",
        lambda found: (
            not any(
                word in str(found)
                for word in ("SECRET", "DJANGO", "DATABASE", "PUPITRE", "SUDO", "SSH", "PYTEST", "DATA_DIR")
            )
        ),
    ),
    Attack(
        "no descriptor was inherited",
        "R = [tried(lambda: os.readlink('/proc/self/fd/' + fd)) for fd in os.listdir('/proc/self/fd')]",
        lambda found: (
            not any(word in str(found) for word in ("/slots", "z-", "fork-server", "/pup-", "cgroup", "lock"))
        ),
    ),
    Attack(
        "a listener on the host's loopback is out of reach",
        r"""
R = []
for address in ('127.0.0.1', '127.0.0.2', '0.0.0.0'):
    with socket.socket() as s:
        s.settimeout(2)
        R.append(tried(lambda: s.connect((address, HOSTPORT))))
""",
        refused,
    ),
    Attack(
        "no address outside has a route",
        r"""
R = []
for address in ('10.0.0.1', '192.168.1.1', '169.254.169.254', '172.16.0.1', '192.0.2.1'):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # connecting a datagram socket sends nothing
        R.append(tried(lambda: s.connect((address, 9))))
""",
        refused,
    ),
    Attack(
        "vsock, packet, raw, netfilter and host sockets are refused",
        "R = [tried(lambda: socket.socket(40, 1, 0)), tried(lambda: socket.socket(17, 3, 0)), "
        "tried(lambda: socket.socket(2, 3, 1)), tried(lambda: socket.socket(16, 3, 9)), "
        "tried(lambda: socket.socket(16, 3, 12)), tried(lambda: socket.socket(38, 5, 0)), "
        "tried(lambda: socket.socket(socket.AF_UNIX).connect('\\0ABSTRACT'))]",
        refused,
    ),
    Attack(
        "the outgoing interface cannot be chosen past the routes",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "R = [tried(lambda: s.setsockopt(1, 25, b'lo')), "
        "tried(lambda: s.setsockopt(0, 50, struct.pack('!I', 1)))]\ns.close()",
        refused,
    ),
    Attack(
        "loopback is the only interface",
        "R = [name for _n, name in socket.if_nameindex()]",
        lambda found: found == ["lo"],
    ),
    Attack(
        "the system is read-only",
        "R = [tried(lambda: open(path, 'w')) for path in "
        "('/x', '/usr/x', '/opt/py/x', '/etc/x', '/etc/passwd', '/dev/x', "
        "'/home/x', '/run/x', '/opt/pupitre/agent/run.py', '/opt/pupitre/filter', '/opt/py/lib/x', '/slots/x', "
        "'/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/user/max_user_namespaces', "
        "'/proc/sys/kernel/hostname', '/proc/sys/vm/drop_caches')]",
        refused,
    ),
    Attack(
        "nothing can be mounted",
        "R = [call(165, 40, b'tmpfs', b'/tmp', b'tmpfs', 0, b''), call(165, 40, b'/usr', b'/tmp', b'', 4096, b''), "
        "call(165, 40, b'', b'/', b'', 32 | 4096, b''), call(155, 41, b'/tmp', b'/tmp'), call(161, 51, b'/tmp'), "
        "call(428, 428, -100, b'/', 1), call(430, 430, b'tmpfs', 0), call(429, 429, 0, 0, 0, 0, 0), "
        "call(442, 442, -100, b'/', 0, 0, 0), call(457, 457, 0, 0, 0, 0), call(458, 458, 0, 0, 0, 0)]",
        all_minus_one,
    ),
    Attack(
        "no new namespace can be made or entered",
        "R = [call(272, 97, 0x10000000), call(272, 97, 0x20000), call(56, 220, 0x10000000 | 17, 0, 0, 0, 0), "
        "call(56, 220, 0x20000000 | 17, 0, 0, 0, 0), call(435, 435, 0, 0), "
        "(-1 if 'Error' in str(tried(lambda: os.setns(os.open('/proc/1/ns/net', 0)))) else 0, ''), "
        "(-1 if subprocess.run(['/usr/bin/unshare', '-U', 'true'], capture_output=True).returncode else 0, '')]",
        all_minus_one,
    ),
    Attack(
        "there is no capability, no way to gain one, and a system-call filter",
        "R = {l.split(':')[0]: l.split(':')[1].strip() "
        "for l in open('/proc/self/status') if l[:3] in ('Cap', 'NoN', 'Sec')}",
        lambda found: (
            all(found[name] == "0" * 16 for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"))
            and found["NoNewPrivs"] == "1"
            and found["Seccomp"] == "2"
        ),
    ),
    Attack(
        "programs with the set-uid bit give nothing",
        "R = [subprocess.run(c, capture_output=True, stdin=-3).returncode for c in (['/usr/bin/su', '-c', 'id'], "
        "['/usr/bin/mount', '-t', 'tmpfs', 'x', '/tmp'], ['/usr/bin/bwrap', '--ro-bind', '/', '/', 'true'])] "
        "+ [0 if tried(lambda: os.setuid(0)) is None else 1]",
        lambda found: 0 not in found,
    ),
    Attack(
        "no terminal can be typed into",
        "R = [tried(lambda: os.open('/dev/tty', 2)), tried(lambda: fcntl.ioctl(0, 0x5412, b'x')), "
        "tried(lambda: (lambda pair: fcntl.ioctl(pair[1], 0x5412, b'x'))(os.openpty()))]",
        refused,
    ),
    Attack(
        "keyrings are out of reach",
        "R = [call(250, 219, 0, -3, 0), call(248, 217, b'user', b'a', b'b', 1, -3), call(250, 219, 3, -5)]",
        all_minus_one,
    ),
    Attack(
        "the machine's own controls are refused",
        "R = [call(x, a, 0, 0, 0, 0, 0) for x, a in ((321, 280), (298, 241), (323, 282), (425, 425), (175, 105), "
        "(313, 273), (246, 104), (320, 294), (227, 112), (164, 170), (169, 142), (135, 92), (304, 265), (103, 116))]",
        all_minus_one,
    ),
    Attack(
        "calls that are newer than the filter do not exist",
        "R = [call(number, number, 0, 0, 0, 0)[1] for number in (463, 467, 500, 900)]",
        lambda found: found == ["ENOSYS"] * 4,
    ),
    Attack(
        "shared memory and temporary files of others cannot be seen",
        "R = [open('/proc/sysvipc/shm').read().count(chr(10)), [x for x in os.listdir('/dev/shm') if 'victim' in x], "
        "call(29, 194, 4242, 0, 0)[0], [x for x in os.listdir('/tmp') if 'victim' in x]]",
        lambda found: found == [1, [], -1, []],
    ),
    Attack(
        "the mount table and control groups name nobody",
        "R = open('/proc/self/mountinfo').read() + open('/proc/self/cgroup').read()",
        lambda found: not any(word in found for word in ("victim", "attacker", "/root", "ada")),
    ),
    Attack(
        "the host's files are not there",
        "R = [tried(lambda: os.listdir(path)) for path in "
        "('/root', '/var/lib', '/work', '/srv', '/boot', '/sys/fs', '/mnt')] "
        "+ [tried(lambda: open(path).read()) for path in ('/etc/shadow', '/etc/hostname', '/var/log/dpkg.log')]",
        refused,
    ),
    Attack(
        "device nodes are only the harmless ones",
        NODES,
        lambda found: found == [],
    ),
    Attack(
        "the host's user and name are not told",
        "R = [os.getuid(), os.getgid(), socket.gethostname(), os.getgroups()]",
        lambda found: found[:3] == [1000, 1000, "notebook"] and set(found[3]) <= {1000, 65534},
    ),
)
