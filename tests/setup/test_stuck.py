"""A worker that receives and begins nothing is noticed; one that only has much to do is left alone."""

from __future__ import annotations

import pytest

from classroom.stuck import PATIENCE_SECONDS, Watch, is_stuck


@pytest.mark.parametrize(
    ("received", "begun", "stuck"),
    [(0, 0, False), (2, 2, False), (4, 2, False), (1, 0, True), (2, 1, True), (1, 1, False)],
)
def test_something_waits_beside_a_free_child(received: int, begun: int, stuck: bool) -> None:
    assert is_stuck(received=received, begun=begun, children=2) is stuck


def test_only_what_lasts_counts() -> None:
    now = [0.0]
    watch = Watch(lambda: now[0])
    free = {"received": 1, "begun": 0, "children": 2}
    assert not watch.too_long(**free)
    now[0] = PATIENCE_SECONDS
    assert not watch.too_long(**free)
    assert not watch.too_long(received=1, begun=1, children=2)
    now[0] = 2 * PATIENCE_SECONDS
    assert not watch.too_long(**free)
    now[0] = 3 * PATIENCE_SECONDS + 1
    assert watch.too_long(**free)
