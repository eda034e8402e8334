"""What can go wrong in the classroom, each with what to do next.

ClassroomError
├── WorkError
│   ├── NotOpenYet          the assignment is not published
│   ├── Closed              nothing can be changed or handed in any more
│   ├── NotASubmission      tutorials are not handed in
│   ├── NoAttemptsLeft      as often handed in as allowed
│   ├── NotSaved            the open document could not be written; nothing was handed in
│   ├── NotRestored         storage refused; the work is as it was
│   ├── MovedOn             the page that offered it is no longer true
│   ├── NothingToPreview    there is no student version yet
│   └── BadUpload           the file is no notebook, or unsafe
├── in the verbs of teachers
│   ├── publish.CannotPublish, NameTaken, CourseArchived; discard.NotADraft
│   ├── uploads.UploadRefused   an archive or a file that cannot be taken
│   ├── roster.RosterChanged (retryable), LastTeacher
│   └── invite.InvitationGone   a link that was used, is old, or never was
├── apply_machines.NotApplied   a file of machines with a mistake, or one that cannot be run
├── SomeoneElseMarked       another person's newer mark would be overruled unseen
└── DriveError              a copy could not be written
    └── DriveUnavailable    … now; later it may
"""

from __future__ import annotations

from typing import ClassVar

from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _


class ClassroomError(Exception):
    """Base of the tree. `user_message` is for people, `retryable` for machines."""

    retryable: ClassVar[bool] = False
    user_message: str | Promise = _("That did not work. Try again; if it happens again, tell your teacher.")

    def __init__(self, detail: str = "", *, user_message: str | Promise | None = None) -> None:
        super().__init__(detail or type(self).__name__)
        if user_message is not None:
            self.user_message = user_message


class WorkError(ClassroomError):
    """A piece of work could not be opened or handed in."""


class NotOpenYet(WorkError):
    """The assignment is a draft or scheduled."""

    user_message = _("This assignment is not open yet. It appears on the course page when it is.")


class Closed(WorkError):
    """The closing date has passed."""

    user_message = _(
        "This assignment is closed, so nothing was handed in. Your work is kept as it is and you can read and "
        "download it. If you need more time, ask your teacher for an extension."
    )


class NotASubmission(WorkError):
    """A tutorial."""

    user_message = _("A tutorial is not handed in. Your work is saved.")


class NoAttemptsLeft(WorkError):
    """The attempt limit is reached."""

    user_message = _("You have used all your attempts. What you handed in before counts, and your work is kept.")


class NotSaved(WorkError):
    """The open document could not be written to storage. `why` is storage's own sentence."""

    retryable = True

    def __init__(self, detail: str, *, why: str | Promise) -> None:
        kept = _("Your last changes could not be saved, so nothing was handed in. They are still in the notebook.")
        super().__init__(detail, user_message=format_lazy("{} {}", kept, why))


class NotRestored(WorkError):
    """What was given out could not be put back. `why` is storage's own sentence."""

    retryable = True

    def __init__(self, detail: str, *, why: str | Promise) -> None:
        kept = _("It could not be put back. Your work is as it was.")
        super().__init__(detail, user_message=format_lazy("{} {}", kept, why))


class MovedOn(WorkError):
    """What a page offered is no longer so."""

    user_message = _("Nothing was changed: the files are no longer as this page showed them. Look at what it says now.")


class NothingToPreview(WorkError):
    """No release has a student version."""

    user_message = _("There is no student version yet. Upload notebooks and wait for the check, then preview.")


class BadUpload(WorkError):
    """What was uploaded cannot be handed in."""

    user_message = _("This file cannot be handed in. Nothing was changed.")


class SomeoneElseMarked(ClassroomError):
    """Another person marked the cell since this page was loaded."""

    user_message = _("Someone else marked this cell meanwhile. Look at their mark, then save yours if it should count.")


class DriveError(ClassroomError):
    """A file could not be copied to Drive."""

    user_message = _("The copy to Drive failed. Your work is safe here; the copy can be tried again.")


class DriveUnavailable(DriveError):
    """Drive cannot be written to at the moment."""

    retryable = True
