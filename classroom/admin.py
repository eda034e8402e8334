"""What the administrator sees of the database: people and their rights, courses, machines, what waits to be sent."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from classroom.forms_machines import ProfileForm
from classroom.models import Course, Enrollment, Outbox
from classroom.people.models import User
from runtimes import trials
from runtimes.describe import sentence
from runtimes.models import Profile, Runtime

admin.site.site_title = "Pupitre"
admin.site.site_header = _("Pupitre · administration")
admin.site.index_title = _("What there is")


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]
    """People; the permission “Can add course” makes a teacher of courses of their own."""

    list_display = ("username", "email", "display_name", "is_active", "last_login")
    search_fields = ("username", "email", "display_name")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": ("display_name", "email", "language", "time_zone", "theme")}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "email", "display_name", "password1", "password2")}),)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """People are deactivated: what they wrote and marked stays theirs."""
        return False


class EnrollmentInline(admin.TabularInline):  # type: ignore[type-arg]
    """Who is in a course."""

    model = Enrollment
    extra = 0
    can_delete = False
    autocomplete_fields = ("user",)
    fields = ("user", "role", "section", "state")


@admin.register(Course)
class CourseAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Courses, for when a teacher is lost."""

    list_display = ("title", "slug", "term", "created_by", "archived_at")
    search_fields = ("title", "slug")
    autocomplete_fields = ("created_by",)
    inlines: ClassVar = [EnrollmentInline]

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Courses are archived."""
        return False


@admin.register(Profile)
class ProfileAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Machines that teachers choose from. None is tried here."""

    form = ProfileForm
    list_display = ("name", "slug", "cpu", "memory_bytes", "gpu", "network", "isolation")
    prepopulated_fields: ClassVar = {"slug": ("name",)}

    def save_model(self, request: HttpRequest, obj: Profile, form: object, change: bool) -> None:
        """An image that is new here is tried when the machine is saved under *Machines*."""
        trials.note(obj, trials.Answer(answered=False))
        super().save_model(request, obj, form, change)


@admin.register(Runtime)
class RuntimeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Machines that run, waited or ended, and why. To be read: the `runtimes` process obeys the rows, not a form."""

    list_display = ("name", "state", "purpose", "profile", "account", "requested_at", "why")
    list_filter = ("state", "purpose", "profile")
    list_select_related = ("profile",)
    search_fields = ("name", "account")
    ordering = ("-requested_at",)
    fields = (
        "name", "state", "why", "purpose", "profile", "account", "provider", "isolation",
        "requested_at", "ready_at", "last_active_at", "deadline", "stopped_at",
    )  # fmt: skip

    @admin.display(description=_("Why"))
    def why(self, runtime: Runtime) -> str:
        """The sentence that the person at the notebook reads."""
        return sentence(runtime) or "–"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Machines are asked for by opening work."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Their state is the `runtimes` process's to write."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Usage is counted from these rows."""
        return False


@admin.register(Outbox)
class OutboxAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What waits to be sent, and what failed and why."""

    list_display = ("kind", "state", "tries", "created_at", "not_before", "message")
    list_filter = ("state", "kind")
    readonly_fields = ("kind", "key", "payload", "tries", "created_at", "done_at", "lease_until", "message")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows are written by what decided them."""
        return False
