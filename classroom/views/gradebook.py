"""The gradebook: everyone's counting scores, on a page and as CSV."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from classroom import csv_out
from classroom.access import Act
from classroom.enter import Member, course_page
from classroom.queries import gradebook as queries


@require_GET
@course_page(Act.GRADEBOOK)
def gradebook(request: HttpRequest, me: Member) -> HttpResponse:
    """A row a student, a column an assignment; a cell leads to what is behind it."""
    book = queries.gradebook(me)
    return render(request, "teach/gradebook.html", {"me": me, "course": me.course, "book": book})


@require_GET
@course_page(Act.GRADEBOOK)
def export(request: HttpRequest, me: Member) -> HttpResponse:
    """The same as CSV: scores as numbers, and each assignment's points in the second line."""
    book = queries.gradebook(me)
    made_with = queries.made_with(book)
    header = ["email", "name", "section", *(one.slug for one in book.assignments)]
    header += [f"{one.slug} {what}" for one in book.assignments for what in ("version", "environment", "engine")]
    most: list[csv_out.Cell] = ["", "max_score", "", *book.max_scores]
    rows = [
        [
            line.enrollment.user.email,
            line.enrollment.user.get_full_name(),
            line.enrollment.section.name if line.enrollment.section else "",
            *(entry.score.score if entry.score else entry.word if entry.submission else "" for entry in line.entries),
            *(fact for entry in line.entries for fact in made_with(entry)),
        ]
        for line in book.lines
    ]
    return csv_out.download(f"{me.course.slug}-gradebook", header, [most, *rows])
