"""`manage.py serve`: the site process. One set of server options for a laptop and for production."""

from __future__ import annotations

import socket
from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand

from classroom.page_slots import share_connections

# A notebook with its outputs travels in one message of the Jupyter protocol.
MOST_BYTES_A_MESSAGE = 128 * 1024 * 1024


class Command(BaseCommand):
    """Serves pages and notebooks with uvicorn."""

    help = "Serve pages and notebooks."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to listen: an address, or a listening socket that the starter passes on."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=int(settings.PORT))
        parser.add_argument("--fd", type=int, help="a listening socket, inherited; instead of --host and --port")

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT."""
        share_connections()
        config = server_config(options["host"], options["port"])
        # `socket.socket(fileno=…)` asks the kernel for the family. uvicorn's own --fd takes it for a Unix socket, so
        # that asyncio would leave Nagle's algorithm on: 40 ms for every answer of a kernel.
        sockets = [socket.socket(fileno=options["fd"])] if options["fd"] is not None else None
        uvicorn.Server(config).run(sockets=sockets)


def server_config(host: str, port: int) -> uvicorn.Config:
    """uvicorn's options. No access log: addresses carry what must not be kept (see classroom/logs.py)."""
    return uvicorn.Config(
        "classroom.asgi:application",
        host=host,
        port=port,
        lifespan="on",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=MOST_BYTES_A_MESSAGE,
        access_log=False,
        log_config=None,
        server_header=False,
        # The settings say what of a proxy's headers is read.
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
