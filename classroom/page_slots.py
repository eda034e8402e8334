"""How many pages are made at once, and the database connections that they share.

Under ASGI every request has a thread of its own, and a connection to PostgreSQL belongs to a thread: kept open it would
serve one page and then only lie there, and a new one costs the server a process. So the site process shares a pool
(psycopg_pool, by Django's `OPTIONS["pool"]`), from which no page waits for another: there are more connections than
pages at once. Other processes fork, which a pool does not survive; their threads live long and keep their connections.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore

from django.db import connections
from django.http import HttpRequest, HttpResponse

type GetResponse = Callable[[HttpRequest], HttpResponse]

#: More would only take turns at the processor. The others wait in their order, in a thread that costs little.
PAGES_AT_ONCE = 32
#: Connections of the notebook host's own threads (`runtimes.jupyter.off_loop`, asgiref's) come on top.
OTHERS = 8
_IDLE_CONNECTIONS = 4

_slots = Semaphore(PAGES_AT_ONCE)


class PageSlotMiddleware:
    """The outermost: a page that is made holds one of the slots. A body is read before it and sent after it, so that
    slow clients hold none, and no connection either."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The response. This thread's pooled connections go back at once."""
        with _slots:
            try:
                return self.get_response(request)
            finally:
                for connection in connections.all(initialized_only=True):
                    if connection.settings_dict["OPTIONS"].get("pool"):
                        connection.close()


def share_connections() -> None:
    """From now on the threads of this process take their connections to PostgreSQL from a pool."""
    for alias in connections:
        database = connections.settings[alias]
        if database["ENGINE"] == "django.db.backends.postgresql":
            connections[alias].close()
            database["CONN_MAX_AGE"] = 0
            most = PAGES_AT_ONCE + OTHERS
            database["OPTIONS"]["pool"] = {"min_size": _IDLE_CONNECTIONS, "max_size": most, "max_idle": 60}
