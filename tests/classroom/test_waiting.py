"""What is said of how long a wait takes: nothing that was not measured, and why it is not known where it is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from classroom.queries.waiting import estimate_words
from runtimes.queue import Outlook


@pytest.mark.parametrize(
    ("outlook", "told"),
    [
        (Outlook(1, None, 4, 1), "too few runs on such a machine have been measured."),
        (Outlook(1, None, 5, 0), "How long that takes is not known: nobody uses such a machine now."),
        (Outlook(1, None, 5, 1), "those at work now have run longer than others did."),
        (Outlook(1, timedelta(minutes=4), 5, 1), "It will be less than 5 minutes, going by the last 5 runs"),
        (Outlook(1, timedelta(minutes=16), 5, 1), "It will be about 20 minutes, going by the last 5 runs"),
    ],
)
def test_an_estimate_says_what_is_known(outlook: Outlook, told: str) -> None:
    assert told in estimate_words(outlook)
