"""Our site process for `bench.socket`: the notebook application, with the options that `manage.py serve` has.

python -m bench._socket_site PORT
"""

from __future__ import annotations

import sys

import django

django.setup()

import uvicorn  # noqa: E402

from classroom.management.commands.serve import server_config  # noqa: E402
from runtimes import jupyter  # noqa: E402
from runtimes.jupyter.hooks import Access, Hooks  # noqa: E402


async def _everyone(subject: str, slug: str) -> Access:
    return Access("write", subject)


application = jupyter.application(Hooks(access=_everyone))

if __name__ == "__main__":
    config = server_config("127.0.0.1", int(sys.argv[1]))
    config.app = application
    uvicorn.Server(config).run()
