r"""What a terminal would show of a stream: `\r` and `\b` obeyed, so that a progress bar is one line, not ten thousand.

Pure. The rules are the front end's own (JupyterLab, `removeOverwrittenChars`), so that a page that saw the stream grow
and one that opens it later show the same.
"""

from __future__ import annotations

import re

_BACKSPACED = re.compile(r"[^\n]\x08")


def needs_overwriting(chunk: str) -> bool:
    """True if `chunk` does more than go on after what is there."""
    return "\r" in chunk or "\b" in chunk


def overwritten(text: str) -> str:
    """`text` after every backspace and carriage return. A `\\r` at the very end still waits for its text."""
    while True:
        text, count = _BACKSPACED.subn("", text)
        if not count:
            break
    text = re.sub(r"\r+\n", "\n", text.replace("\x08", ""))
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    if "\r" not in line:
        return line
    shown = ""
    parts = line.split("\r")
    for part in parts:
        shown = part + shown[len(part) :]
    return shown + ("\r" if line.endswith("\r") else "")
