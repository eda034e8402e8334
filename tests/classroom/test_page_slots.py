"""Pages at once are limited, in their order; on PostgreSQL they share a few connections."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Event, Thread

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory

from classroom.page_slots import PAGES_AT_ONCE, PageSlotMiddleware
from classroom.places import CHECKOUT

PIDS = """
import django
django.setup()
from threading import Thread
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory
from classroom.page_slots import PageSlotMiddleware, share_connections

def page(request):
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        print(cursor.fetchone()[0])
    return HttpResponse()

share_connections()
middleware = PageSlotMiddleware(page)
for _ in range(30):
    # As under ASGI: each request in a thread of its own.
    thread = Thread(target=middleware, args=[RequestFactory().get("/")])
    thread.start()
    thread.join()
connection.close_pool()
"""


def test_one_page_more_than_there_are_slots_waits_for_one_of_them():
    inside, go_on, begun = Event(), Event(), []

    def page(request):
        begun.append(request)
        if len(begun) == PAGES_AT_ONCE:
            inside.set()
        go_on.wait()
        return HttpResponse()

    middleware = PageSlotMiddleware(page)
    threads = [Thread(target=middleware, args=[RequestFactory().get("/")]) for _ in range(PAGES_AT_ONCE + 1)]
    for thread in threads:
        thread.start()
    assert inside.wait(60)
    assert len(begun) == PAGES_AT_ONCE
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(begun) == PAGES_AT_ONCE + 1


def test_a_page_that_fails_gives_its_slot_back():
    def page(request):
        raise ValueError

    middleware = PageSlotMiddleware(page)
    for _ in range(PAGES_AT_ONCE + 1):
        with pytest.raises(ValueError):
            middleware(RequestFactory().get("/"))


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite opens a file")
def test_pages_share_connections_to_postgresql():
    variables = {**os.environ, "DJANGO_SETTINGS_MODULE": "classroom.settings"}
    done = subprocess.run([sys.executable, "-c", PIDS], env=variables, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pids = done.stdout.split()
    assert len(pids) == 30
    # A few that the pool opened when it started, not one for each.
    assert len(set(pids)) < 10
