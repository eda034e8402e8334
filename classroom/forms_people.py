"""Forms about people."""

from __future__ import annotations

from typing import Any, ClassVar
from zoneinfo import available_timezones

from allauth.account.forms import LoginForm
from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import password_validators_help_text_html, validate_password
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.utils.functional import lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom import password_mail
from classroom.deadlines import Allowance, allowance_of
from classroom.forms_time import LocalDateTimeField
from classroom.list_lines import MOST_BYTES
from classroom.models import Assignment, Course, Enrollment, Extension, Section
from classroom.people.models import User
from classroom.roster_read import decode


def time_zones() -> list[tuple[str, str]]:
    """Every place of the IANA database, sorted; what is not a place (Etc/GMT+3, EST5EDT) left out, UTC kept."""
    places = sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in places)]


class SignInForm(LoginForm):
    """allauth's form with words of ours, and labels rather than placeholders (WCAG 2.2, 3.3.2)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = _("User name or email")
        self.fields["password"].help_text = ""
        self.fields["remember"].label = _("Stay signed in on this device")
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)


class ForgottenPasswordForm(forms.Form):
    """In the place of allauth's, which looks the address up and sends the mail while the page waits."""

    email = forms.EmailField(
        label=_("Email address"), widget=forms.EmailInput(attrs={"autocomplete": "email"}), max_length=254
    )

    def save(self, request: HttpRequest) -> str:
        """Has the mail sent. Returns the address, as allauth's form does."""
        email: str = self.cleaned_data["email"]
        password_mail.ask(email)
        return email


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    """What people may change about themselves. The email is how the roster knows them: it is the teacher's."""

    display_name = forms.CharField(
        label=_("Name"), max_length=200, help_text=_("As your teachers and fellow students read it.")
    )
    language = forms.ChoiceField(
        label=_("Language"),
        required=False,
        choices=[("", _("As the browser asks")), *settings.LANGUAGES],
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        required=False,
        choices=lazy(lambda: [("", _("As each course says")), *time_zones()], list),
        help_text=_("Due dates are said in this time zone."),
    )
    theme = forms.ChoiceField(label=_("Appearance"), choices=User.Theme.choices, widget=forms.RadioSelect)

    class Meta:
        model = User
        fields: ClassVar = ["display_name", "language", "time_zone", "theme"]


class ClassListForm(forms.Form):
    """A class list, pasted or as a file. Cleans to `text`; `note` says what was guessed."""

    note = ""
    text = forms.CharField(
        label=_("Paste a list"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false", "wrap": "off"}),
        help_text=_(
            "One person a line: email, name, role, section. Only the email is needed; the role is student, ta, reader "
            "or teacher, and student where it is missing. Copied cells of a spreadsheet work as they are."
        ),
    )
    file = forms.FileField(
        label=_("Or upload a CSV file"),
        required=False,
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.txt,text/csv,text/plain"}),
    )

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError where there is neither, or both."""
        cleaned = super().clean() or {}
        file = cleaned.get("file")
        pasted = (cleaned.get("text") or "").strip()
        if bool(file) == bool(pasted):
            raise forms.ValidationError(gettext("Paste a list or choose a file, one of the two."))
        if isinstance(file, UploadedFile):
            if (file.size or 0) > MOST_BYTES:
                raise forms.ValidationError(gettext("The list is larger than 2 MB."))
            cleaned["text"], self.note = decode(file.read())
        return cleaned


class GroupListForm(ClassListForm):
    """A list of groups, pasted or as a file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].help_text = _(
            "One person a line: email, group. Copied cells of a spreadsheet work as they are. Who is in another group "
            "is moved. You see what would change before anything is applied."
        )


class ConfirmListForm(forms.Form):
    """The preview sent back: the list as it was read, what it was shown to do, and whom to drop."""

    text = forms.CharField(widget=forms.HiddenInput, strip=False)
    digest = forms.CharField(widget=forms.HiddenInput, max_length=64)
    drop = forms.TypedMultipleChoiceField(coerce=int, required=False)
    mail = forms.BooleanField(
        label=_("Mail everyone who is new a link to choose a password"), required=False, initial=True
    )

    def __init__(self, *args: Any, missing: list[int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["drop"]
        assert isinstance(field, forms.TypedMultipleChoiceField)
        field.choices = [(str(pk), str(pk)) for pk in missing or []]


class MemberForm(forms.Form):
    """One person's part in a course."""

    role = forms.ChoiceField(label=_("Role"), choices=Enrollment.Role.choices, widget=forms.RadioSelect)
    section_name = forms.CharField(
        label=_("Section"),
        max_length=60,
        required=False,
        help_text=_("A TA with a section sees that section's students only; a new name makes a new section."),
        widget=forms.TextInput(attrs={"list": "sections", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, enrollment: Enrollment, **kwargs: Any) -> None:
        section = enrollment.section
        kwargs["initial"] = {"role": enrollment.role, "section_name": section.name if section else ""}
        super().__init__(*args, **kwargs)

    def section(self, course: Course) -> Section | None:
        """The section that was named, made where it is new; None for no name."""
        name = " ".join(self.cleaned_data["section_name"].split())
        return Section.objects.get_or_create(course=course, name=name)[0] if name else None


class ExtensionForm(forms.ModelForm):  # type: ignore[type-arg]
    """A later due date for one person in the course's time zone, more attempts, or both."""

    due_at = LocalDateTimeField(label=_("New due date"), required=False)
    more_attempts = forms.IntegerField(
        label=_("More attempts"),
        min_value=0,
        max_value=100,
        required=False,
        help_text=_("On top of what everyone has, where attempts are limited."),
    )

    class Meta:
        model = Extension
        fields: ClassVar = ["assignment", "due_at", "more_attempts", "reason"]

    def __init__(self, *args: Any, course: Course, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        due = self.fields["due_at"]
        assert isinstance(due, LocalDateTimeField)
        due.in_zone(course.time_zone)
        assignments = self.fields["assignment"]
        assert isinstance(assignments, forms.ModelChoiceField)
        assignments.queryset = Assignment.objects.filter(course=course, line_item__graded=True)
        assignments.empty_label = None

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError for a date that is no later than everyone's, and for nothing at all."""
        cleaned = super().clean() or {}
        cleaned["more_attempts"] = cleaned.get("more_attempts") or 0
        assignment, due_at = cleaned.get("assignment"), cleaned.get("due_at")
        if not due_at and not cleaned["more_attempts"] and not self.errors:
            self.add_error("due_at", gettext("Give a later date, more attempts, or both."))
        if assignment and due_at and assignment.due_at and due_at <= assignment.due_at:
            self.add_error("due_at", gettext("This is not later than the due date that everyone has."))
        return cleaned


class AccommodationForm(forms.Form):
    """A person's standing accommodation in the course."""

    percent = forms.IntegerField(
        label=_("Extra time, in percent"),
        min_value=0,
        max_value=1000,
        required=False,
        help_text=_("Of the time from an assignment's publication to its due date: 25 makes 10 days of 8."),
    )
    days = forms.IntegerField(label=_("Extra days"), min_value=0, max_value=365, required=False)
    hours = forms.IntegerField(label=_("Extra hours"), min_value=0, max_value=23, required=False)

    def __init__(self, *args: Any, enrollment: Enrollment, **kwargs: Any) -> None:
        now = allowance_of(enrollment)
        kwargs["initial"] = {"percent": now.percent or None, "days": now.days or None, "hours": now.hours or None}
        super().__init__(*args, **kwargs)

    @property
    def allowance(self) -> Allowance:
        """What was typed; an empty field is none."""
        said = self.cleaned_data
        return Allowance(said["percent"] or 0, said["days"] or 0, said["hours"] or 0)


class FirstPasswordForm(forms.Form):
    """Chosen by somebody who came by an invitation."""

    display_name = forms.CharField(label=_("Name"), max_length=200, help_text=_("As your teachers read it."))
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=_("The password again"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["display_name"].initial = user.display_name
        self.fields["password"].help_text = password_validators_help_text_html()

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError for passwords that differ or are too easy to guess."""
        cleaned = super().clean() or {}
        password = cleaned.get("password", "")
        if password and password != cleaned.get("again"):
            self.add_error("again", gettext("The two passwords are not the same."))
        elif password:
            try:
                validate_password(password, self.user)
            except forms.ValidationError as error:
                self.add_error("password", error)
        return cleaned
