"""What a provider says to the image of a profile that it tried: refused, fine, or not tried now, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Untried(StrEnum):
    """Why nobody can say yet. None of these is a reason against the profile."""

    ROOM = "room"
    SLOW = "slow"
    FAULT = "fault"


UNTRIED_SENTENCES: Mapping[Untried, Promise] = {
    Untried.ROOM: _("Its image was not tried, since there is no room for that now: its first start will tell."),
    Untried.SLOW: _("Its image is still being fetched, and was not tried to the end: its first start will tell."),
    Untried.FAULT: _(
        "Its image was not tried, since that failed for a reason that may pass: its first start will tell."
    ),
}


@dataclass(frozen=True, slots=True)
class ImageTrial:
    """refusal: why it will never run, in the provider's own words; "" otherwise. untried: why that is not known, with
    what the provider says of it in `words`."""

    refusal: str = ""
    untried: Untried | None = None
    words: str = ""
