"""A process with one document open. Commands are lines of JSON on standard input, answers on standard output."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"


def configure(place: dict) -> None:
    from django.conf import settings

    settings.DATABASES["default"].update(place["database"], PASSWORD=place["password"])
    settings.RUN_DIR = Path(place["run_dir"])
    settings.REDIS_URL = place["redis_url"]
    settings.STORAGES["work"]["OPTIONS"]["location"] = place["work_dir"]
    import django

    django.setup()


async def serve(document_id: str) -> None:
    from uuid import UUID

    from runtimes.jupyter.open_documents import open_documents
    from tests.runtimes.document.conftest import edit, sources

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with open_documents().hold(UUID(document_id)) as opened:
        while line := await reader.readline():
            asked = json.loads(line)
            answer = None
            if asked["command"] == "sources":
                answer = sources(opened.replica)
            elif asked["command"] == "edit":
                edit(opened.replica, asked["cell"], asked["text"])
            elif asked["command"] == "edit_and_settle":
                edit(opened.replica, asked["cell"], asked["text"])
                answer = await opened.replica.settle()
            elif asked["command"] == "save":
                answer = await opened.saver.save()
            print(json.dumps({"answer": answer}), flush=True)


if __name__ == "__main__":
    place = json.loads(sys.argv[1])
    configure(place)
    asyncio.run(serve(place["document"]))
