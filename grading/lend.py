"""Sandboxes for the engine, out of `runtimes`. The only place where grading starts anything that runs student code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from grading.engine import Borrow
from runtimes.models import Profile

# nbgrader sets this for every kernel that it starts while autograding.
ENVIRONMENT = {"NBGRADER_EXECUTION": "autograde"}


class Lender(Borrow, Protocol):
    """Makes sandboxes and knows of what they are made."""

    @property
    def environment_digest(self) -> str:
        """The environment that the sandboxes so far ran; "" when there was none."""


def lender(*, profile: Profile, account: str, preload: Sequence[str]) -> Lender:
    """Fresh sandboxes of the configured provider. Raises GraderUnavailable where none can be had."""
    from grading.borrowed import BorrowedSandboxes

    return BorrowedSandboxes(profile, account, tuple(preload))


class Lend(Protocol):
    """How verbs get a lender; tests pass one of their own."""

    def __call__(self, *, profile: Profile, account: str, preload: Sequence[str]) -> Lender:
        """A lender for one job."""
