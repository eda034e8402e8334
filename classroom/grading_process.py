"""What a process of `manage.py autograde --wait` runs. Nothing is imported before Django is set up."""

from __future__ import annotations


def prepare() -> None:
    """What a worker of the site has done before its first task."""
    import django

    from classroom.lifeline import end_with_parent

    end_with_parent()
    django.setup()


def grade(autograding: int) -> str:
    """Grades one queued row: "" or why it has to wait. A row that another process took is none of ours."""
    from grading.autograde import autograde
    from grading.errors import GraderUnavailable
    from grading.patience import drop_dead_connection

    drop_dead_connection()
    try:
        autograde(autograding)
    except GraderUnavailable as error:
        return str(error) or "no sandbox"
    return ""
