"""Pure: text that came out of a notebook, as every database takes it."""

from __future__ import annotations

import re
from typing import Any

# PostgreSQL has no place for U+0000 in text or JSON, and no encoding has one for half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_STANDS_FOR_IT = "\ufffd"


def storable[T](value: T) -> T:
    """The value with each such character replaced, in every string of lists and dictionaries, too."""
    made: Any = value
    if isinstance(value, str):
        made = _UNSTORABLE.sub(_STANDS_FOR_IT, value)
    elif isinstance(value, list | tuple):
        made = type(value)(map(storable, value))
    elif isinstance(value, dict):
        made = {storable(key): storable(item) for key, item in value.items()}
    return made  # type: ignore[no-any-return]
