"""Files in and out of the runtime, on a second thread: a large push holds up no status and no interrupt."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from .archive import ArchiveRefused, pack_files, unpack_files
from .desk import Asker, Desk, Refused
from .files import Bounds, Home
from .wire import fitting

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM})
MAX_SKIPPED_TOLD = 1000
Result = tuple[dict[str, Any], bytes]


class Mover:
    """One thread and the home folder that only it touches. Poll `fileno()`, then call `deliver`."""

    def __init__(self, desk: Desk, root: str) -> None:
        self._desk = desk
        self._home = Home(root)
        self._thread = ThreadPoolExecutor(1)
        self._readable, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._done: list[Callable[[], None]] = []

    @property
    def verbs(self) -> dict[str, Callable[[Asker, dict[str, Any], bytes], None]]:
        """What is asked of it, by name."""
        verbs = (self.push, self.remove, self.rename, self.pull, self.acknowledge)
        return {verb.__name__: verb for verb in verbs}

    def fileno(self) -> int:
        """Readable when something was moved."""
        return self._readable

    def deliver(self) -> None:
        """Sends the answers of what was moved."""
        with suppress(BlockingIOError):
            os.read(self._readable, 4096)
        while self._done:
            self._done.pop(0)()

    def push(self, asker: Asker, _header: dict[str, Any], payload: bytes) -> None:
        """Writes the files of a tar."""
        self._start(asker, lambda: push(self._home, payload))

    def remove(self, asker: Asker, header: dict[str, Any], _payload: bytes) -> None:
        """Takes files and folders away."""
        paths, only_known = [str(path) for path in header["paths"]], bool(header["only_known"])

        def move() -> Result:
            self._home.remove(paths, only_known=only_known)
            return {}, b""

        self._start(asker, move)

    def rename(self, asker: Asker, header: dict[str, Any], _payload: bytes) -> None:
        """Moves a file or a folder."""
        old, new = str(header["old"]), str(header["new"])

        def move() -> Result:
            self._home.rename(old, new)
            return {}, b""

        self._start(asker, move)

    def pull(self, asker: Asker, header: dict[str, Any], _payload: bytes) -> None:
        """Answers with what changed."""
        self._start(asker, lambda: pull(self._home, header))

    def acknowledge(self, asker: Asker, header: dict[str, Any], _payload: bytes) -> None:
        """The site has what an earlier pull told."""
        self._start(asker, lambda: acknowledge(self._home, header))

    def _start(self, asker: Asker, move: Callable[[], Result]) -> None:
        def run() -> None:
            try:
                header, payload = refusing(move)
            except Refused as refusal:
                code, message = refusal.code, str(refusal)
                self._done.append(lambda: self._desk.refuse(asker, code, message))
            else:
                self._done.append(lambda: self._desk.answer(asker, header, payload))
            with suppress(BlockingIOError):
                os.write(self._wake, b"1")

        self._thread.submit(run)


def push(home: Home, payload: bytes) -> Result:
    """Writes the files of a tar."""
    files = unpack_files(payload)
    home.write(files, files.executable)
    return {}, b""


def pull(home: Home, header: Mapping[str, Any]) -> Result:
    """What changed, within the bounds that were asked for."""
    room = header.get("room")
    most = (int(header["max_files"]), int(header["max_bytes"]), int(header["max_file_bytes"]))
    bounds = Bounds(*most, room=None if room is None else int(room))
    found = home.changes(bounds, again=bool(header["again"]))
    skipped = {path: found.skipped[path] for path in fitting(list(found.skipped)[:MAX_SKIPPED_TOLD])}
    told = {"deleted": found.deleted, "skipped": skipped, "token": found.token, "more": found.more}
    return told, pack_files(found.files, found.executable)


def acknowledge(home: Home, header: Mapping[str, Any]) -> Result:
    """The other side has what an earlier pull told, but for some paths."""
    home.acknowledge(str(header["token"]), {str(path) for path in header["without"]})
    return {}, b""


def refusing(move: Callable[[], Result]) -> Result:
    """The result of `move`. Raises Refused for whatever goes wrong: the asker must not wait for ever."""
    try:
        return move()
    except Refused:
        raise
    except ArchiveRefused as error:
        raise Refused("unsafe-path", str(error)) from error
    except OSError as error:
        raise Refused("full" if error.errno in _NO_ROOM else "error", str(error)) from error
    except Exception as error:
        raise Refused("error", repr(error)) from error
