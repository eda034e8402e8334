"""Forms about regrades: what to try on whom, what to take over, and points in a table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom.queries.regrade import Attempt
from classroom.templatetags.say import points
from grading.models import CellKey, GradeCell, Release, Submission

AS_IT_IS = "same"
#: Of more attempts than these, those that are meant are written down rather than ticked in a list.
MOST_LISTED = 300


class RegradeForm(forms.Form):
    """A version, the attempts to try it on, and the reason that students will read.

    `older`: codes of attempts that are chosen to begin with, each by its own version.
    """

    version = forms.ChoiceField(label=_("Grade with"), widget=forms.RadioSelect)
    scope = forms.ChoiceField(label=_("Which attempts"), widget=forms.RadioSelect, initial="counted")
    chosen = forms.MultipleChoiceField(label=_("Chosen attempts"), required=False, widget=forms.CheckboxSelectMultiple)
    reason = forms.CharField(
        label=_("What was changed, and why"),
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=2000,
        help_text=_("Those whose score moves will read this. You can still change it when you approve."),
    )

    def __init__(
        self,
        *args: Any,
        versions: Sequence[Release],
        attempts: Sequence[Attempt],
        older: Collection[str] | None = None,
        **kwargs: Any,
    ) -> None:
        many = len(attempts) > MOST_LISTED
        if older is not None:
            chosen = "\n".join(sorted(older)) if many else sorted(older)
            kwargs["initial"] = {"version": AS_IT_IS, "scope": "chosen", "chosen": chosen}
        super().__init__(*args, **kwargs)
        self._versions, self._attempts = {str(one.number): one for one in versions}, attempts
        as_it_is = gettext("The version that counts for each already, in today’s environment")
        text = gettext("Version %(n)s (%(points)s points)")
        named = [(no, text % {"n": no, "points": points(one.max_score)}) for no, one in self._versions.items()]
        self._choices("version", [*named, (AS_IT_IS, as_it_is)])
        self.fields["version"].initial = named[0][0] if named else AS_IT_IS
        counted = sum(one.counts for one in attempts)
        self._choices(
            "scope",
            [
                ("counted", gettext("The attempts that count (%(n)d)") % {"n": counted}),
                ("all", gettext("All attempts (%(n)d)") % {"n": len(attempts)}),
                ("chosen", gettext("Chosen ones")),
            ],
        )
        if many:
            self.fields["chosen"] = _written()
        else:
            self._choices("chosen", [(one.submission.code, self._named(one)) for one in attempts])

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    @staticmethod
    def _named(one: Attempt) -> str:
        text = gettext("%(who)s, attempt %(n)d (counts)") if one.counts else gettext("%(who)s, attempt %(n)d")
        return text % {"who": one.names, "n": one.submission.attempt}

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError where attempts are to be chosen and none is."""
        cleaned = super().clean() or {}
        if isinstance(cleaned.get("chosen"), str):
            cleaned["chosen"] = self._meant(cleaned["chosen"])
        if cleaned.get("scope") == "chosen" and not cleaned.get("chosen") and not self.has_error("chosen"):
            self.add_error("chosen", gettext("Choose at least one attempt."))
        return cleaned

    def _meant(self, text: str) -> list[str]:
        """The codes of the attempts that are written down; an error of the field where a line is no attempt's."""
        codes: dict[str, list[str]] = {one.submission.code: [one.submission.code] for one in self._attempts}
        for one in self._attempts:
            for author in one.submission.authors.all():
                codes.setdefault(author.email.lower(), []).append(one.submission.code)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        unknown = [line for line in lines if line.upper() not in codes and line.lower() not in codes]
        if unknown:
            words = gettext("“%(line)s” is neither a receipt’s code nor the email of somebody with a graded attempt.")
            self.add_error("chosen", words % {"line": unknown[0][:80]})
        return [code for line in lines for code in codes.get(line.upper()) or codes.get(line.lower(), [])]

    @property
    def release(self) -> Release | None:
        """The version; None: each by its own."""
        return self._versions.get(self.cleaned_data["version"])

    @property
    def submissions(self) -> list[Submission]:
        """The attempts to try it on."""
        scope, chosen = self.cleaned_data["scope"], set(self.cleaned_data["chosen"])
        return [
            one.submission
            for one in self._attempts
            if scope == "all" or (one.counts if scope == "counted" else one.submission.code in chosen)
        ]


def _written() -> forms.CharField:
    return forms.CharField(
        label=_("Chosen attempts"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
        help_text=_("One a line: a receipt’s code for an attempt, or an email for all attempts of that student."),
    )


class PointsForm(forms.Form):
    """The points of every cell that has any, as in the newest version."""

    def __init__(self, *args: Any, cells: Sequence[GradeCell], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cells = {f"cell-{cell.pk}": cell for cell in cells}
        for name, cell in self._cells.items():
            self.fields[name] = forms.DecimalField(
                label=cell.grade_id,
                min_value=Decimal(0),
                max_value=Decimal(10_000),
                decimal_places=4,
                localize=True,
                initial=cell.max_score.normalize(),
                help_text=f"{cell.notebook.path} · {cell.get_kind_display()}",
            )

    @property
    def points(self) -> dict[CellKey, Decimal]:
        """The points by notebook and grade_id."""
        return {cell.key: self.cleaned_data[name] for name, cell in self._cells.items()}
