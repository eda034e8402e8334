"""Which of several things that changed places stayed: the heaviest increasing subsequence."""

from __future__ import annotations

from collections.abc import Sequence


def heaviest_increasing(numbers: Sequence[int], weights: Sequence[int]) -> set[int]:
    """The increasing subsequence of distinct `numbers` whose weights add up to most. Quadratic; of ties the first."""
    best: list[int] = []
    before: list[int] = []
    for at, number in enumerate(numbers):
        earlier = [one for one in range(at) if numbers[one] < number]
        after = max(earlier, key=lambda one: best[one], default=-1)
        best.append(weights[at] + (best[after] if after >= 0 else 0))
        before.append(after)
    found: set[int] = set()
    at = max(range(len(numbers)), key=lambda one: best[one], default=-1)
    while at >= 0:
        found.add(numbers[at])
        at = before[at]
    return found
