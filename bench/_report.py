"""How every benchmark ends: a table for people, and one line of JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows in columns: the first one left, the others right."""
    cells = [[str(value) for value in row] for row in [headings, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = [
        "  ".join(
            value.ljust(width) if column == 0 else value.rjust(width)
            for column, (value, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def last_line(bench: str, *, ratio: float, figures: Mapping[str, object], identical: bool | None = None) -> str:
    """The last line of output. `ratio` is the peer's figure divided by ours: above 1, ours is better."""
    line: dict[str, object] = {"bench": bench, "ratio": round(ratio, 2)}
    if identical is not None:
        line["identical"] = identical
    return json.dumps({**line, "figures": dict(figures)})
