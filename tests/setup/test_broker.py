"""The embedded broker: a message is taken once, whole, by whoever comes first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kombu import Connection

import classroom.broker  # noqa: F401 - registers the scheme
from classroom.places import CHECKOUT

MESSAGES = 300
WORKERS = 4
WORKER = """
import sys
from queue import Empty
from kombu import Connection
import classroom.broker
options = {"data_folder_in": sys.argv[1], "data_folder_out": sys.argv[1], "control_folder": sys.argv[2]}
with Connection("folder://localhost", transport_options=options).channel() as channel:
    while True:
        try:
            message = channel._get("work")
        except Empty:
            continue
        if message == "stop":
            break
        print(message["number"], len(message["text"]), flush=True)
"""


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    for name in ("queue", "control"):
        (tmp_path / name).mkdir()
    queue = str(tmp_path / "queue")
    return {"data_folder_in": queue, "data_folder_out": queue, "control_folder": str(tmp_path / "control")}


def test_every_message_is_taken_once_and_whole_by_workers_that_race(options: dict[str, str]):
    command = [sys.executable, "-c", WORKER, options["data_folder_in"], options["control_folder"]]
    workers = [subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    with Connection("folder://localhost", transport_options=options).channel() as channel:
        for number in range(MESSAGES):
            channel._put("work", {"number": number, "text": "x" * 50_000})
        for _ in workers:
            channel._put("work", "stop")
    taken = [
        tuple(map(int, line.split())) for worker in workers for line in worker.communicate(timeout=60)[0].splitlines()
    ]
    assert [worker.returncode for worker in workers] == [0] * WORKERS
    assert sorted(taken) == [(number, 50_000) for number in range(MESSAGES)]
    assert list(Path(options["data_folder_in"]).iterdir()) == []


def test_messages_come_in_the_order_they_were_sent(options: dict[str, str]):
    with Connection("folder://localhost", transport_options=options).channel() as channel:
        for number in range(20):
            channel._put("work", number)
        assert [channel._get("work") for _ in range(20)] == list(range(20))


def test_a_message_goes_through_the_public_interface(options: dict[str, str]):
    with Connection("folder://localhost", transport_options=options) as connection:
        queue = connection.SimpleQueue("work")
        queue.put({"pk": 7})
        message = queue.get(timeout=5)
        assert message.payload == {"pk": 7}
        message.ack()
        queue.close()


def test_queues_bound_at_the_same_moment_are_all_known(options: dict[str, str]):
    bind = (
        "import sys\nfrom kombu import Connection\nimport classroom.broker\n"
        "options = {'data_folder_in': sys.argv[1], 'data_folder_out': sys.argv[1], 'control_folder': sys.argv[2]}\n"
        "with Connection('folder://localhost', transport_options=options).channel() as channel:\n"
        "    for number in range(20):\n"
        "        channel._queue_bind('news', '', '', f'{sys.argv[3]}-{number}')\n"
    )
    folders = [options["data_folder_in"], options["control_folder"]]
    processes = [
        subprocess.Popen([sys.executable, "-c", bind, *folders, str(number)], cwd=CHECKOUT) for number in range(WORKERS)
    ]
    assert [process.wait(60) for process in processes] == [0] * WORKERS
    with Connection("folder://localhost", transport_options=options).channel() as channel:
        assert len(channel.get_table("news")) == WORKERS * 20
