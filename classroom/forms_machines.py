"""A machine (a `runtimes.Profile`) as its administrator fills it in, in the groups that the page shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.db.models import Q
from django.utils.functional import lazy
from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from classroom.forms_people import time_zones
from classroom.forms_units import (
    GigabytesField,
    HoursField,
    LabelsField,
    LastingField,
    NumberField,
    ShortNameField,
    WordsField,
)
from classroom.machines import why_unshared
from classroom.models import Course
from runtimes.models import Profile


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    """A machine's row with what the row alone cannot tell: whether something is graded on it."""

    def _post_clean(self) -> None:
        """With the row as it was filled in, which other checks of a shared GPU read."""
        super()._post_clean()  # type: ignore[misc]
        if why := why_unshared(self.instance):
            self.add_error("accelerator_sharing", why)


class MachineForm(ProfileForm):
    """What is wrong with a field stands at it (`runtimes/profile_checks.py`); what the provider refuses, above all."""

    #: Heading, fields, and whether the group is folded up where nothing in it is set.
    GROUPS = (
        (_("Name"), ("name", "slug"), False),
        (_("Who may use it"), ("for_all", "courses"), False),
        (_("Size"), ("cpu", "memory_bytes", "home_bytes", "processes"), False),
        (_("Software and network"), ("environment", "preload", "network", "isolation"), False),
        (_("Limits"), ("idle_timeout", "lifetime"), False),
        (_("Kept ready"), ("warm", "timetable", "time_zone"), False),
        (
            _("GPU or TPU"),
            (
                "gpu", "accelerator", "accelerator_model", "accelerator_partition", "accelerator_sharing",
                "accelerator_clients", "accelerator_topology", "fallback",
            ),
            True,
        ),
        (
            _("In a cluster"),
            (
                "image", "cpu_request", "node_selector", "tolerations", "runtime_class", "scratch_bytes", "data_claim",
                "data_bucket", "data_service_account",
            ),
            True,
        ),
    )  # fmt: skip

    slug = ShortNameField(
        label=_("Short name"), max_length=50, required=False, help_text=_("Made from the name if you leave it empty.")
    )
    courses = forms.ModelMultipleChoiceField(
        label=_("Courses"), queryset=Course.objects.none(), required=False,
        help_text=_("Whose teachers may choose it, where it is not for all."),
    )  # fmt: skip
    cpu = NumberField(label=_("Processor cores"), min_value=Decimal("0.05"), max_digits=6, decimal_places=2)
    cpu_request = NumberField(
        label=_("Reserved cores"), min_value=Decimal("0.01"), max_digits=6, decimal_places=2,
        help_text=_("What the scheduler reserves; the rest is shared with others on the node."),
    )  # fmt: skip
    memory_bytes = GigabytesField(label=_("Memory (GB)"), min_value=0.25)
    home_bytes = GigabytesField(
        label=_("Disk (GB)"), min_value=0.05,
        help_text=_(
            "For files and, without scratch space, installed packages. It lies in memory, and is less than that; 1 GB "
            "of what people write is kept."
        ),
    )  # fmt: skip
    preload = WordsField(
        label=_("Modules imported beforehand"), required=False,
        help_text=_("Like “numpy pandas”: a kernel starts sooner; what code can see stays the same."),
    )  # fmt: skip
    idle_timeout = LastingField(
        label=_("Stops after so many minutes without a running cell"), unit=timedelta(minutes=1), min_value=1,
        max_value=7 * 24 * 60,
    )  # fmt: skip
    lifetime = LastingField(
        label=_("Longest life in hours"), unit=timedelta(hours=1), min_value=1, max_value=30 * 24,
        help_text=_("Also of what is busy. People are warned ten minutes before."),
    )  # fmt: skip
    timetable = HoursField(
        label=_("Class hours"), required=False,
        help_text=_(
            "Day, from, to, and how many to keep ready meanwhile. They are started from then on: begin some minutes "
            "before class, a quarter of an hour where nodes must be added first."
        ),
    )  # fmt: skip
    time_zone = forms.ChoiceField(label=_("Time zone of the class hours"), choices=lazy(time_zones, list))
    node_selector = LabelsField(label=_("Node labels"), required=False, help_text=_("A line key=value each."))
    tolerations = forms.JSONField(
        label=_("Tolerations"), required=False, widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text=_("As in a pod: [{\"key\": \"lab\", \"operator\": \"Exists\"}]"),
    )  # fmt: skip
    scratch_bytes = GigabytesField(
        label=_("Scratch space (GB)"), min_value=0,
        help_text=_(
            "On the node’s disk, for installed packages, what pip unpacks, temporary files and /scratch. Where people "
            "install packages give 4 GB or more (PyTorch: 16 GB); who writes more loses the machine. 0: none, and all "
            "of it is in memory."
        ),
    )  # fmt: skip

    class Meta:
        model = Profile
        fields: ClassVar = [
            "name", "slug", "for_all", "cpu", "memory_bytes", "home_bytes", "processes", "environment", "preload",
            "network", "isolation", "idle_timeout", "lifetime", "warm", "timetable", "time_zone", "gpu", "accelerator",
            "accelerator_model", "accelerator_partition", "accelerator_sharing", "accelerator_clients",
            "accelerator_topology", "fallback", "image", "cpu_request", "node_selector", "tolerations", "runtime_class",
            "scratch_bytes", "data_claim", "data_bucket", "data_service_account",
        ]  # fmt: skip
        labels: ClassVar = {
            "name": _("Name"), "for_all": _("For all courses"),
            "processes": _("Processes and threads at once"), "environment": _("Environment"), "network": _("Network"),
            "isolation": _("How a kernel starts"), "warm": _("Always kept ready"), "gpu": _("How many"),
            "accelerator": _("Kind"), "accelerator_model": _("Model"), "accelerator_partition": _("Part of a GPU"),
            "accelerator_sharing": _("Shared"), "accelerator_clients": _("By how many at most"),
            "accelerator_topology": _("Topology"), "fallback": _("To work on meanwhile"), "image": _("Image"),
            "runtime_class": _("Runtime class"),
            "data_claim": _("Volume claim with data sets"), "data_bucket": _("Bucket with data sets"),
            "data_service_account": _("Service account that reads the bucket"),
        }  # fmt: skip
        help_texts: ClassVar = {
            "name": _("What teachers choose and students read, like “Python · 2 CPU · 4 GB”."),
            "environment": _("A digest, or “default” for the newest."),
            "isolation": _("In sandboxes. A pod is kept apart from all others either way."),
            "warm": _("Each waits with its memory reserved; a claim then takes a moment only."),
            "gpu": _("0: none."),
            "accelerator_model": _("Like nvidia-l4 or tpu-v6e-slice; empty: any."),
            "accelerator_partition": _("By MIG, like 1g.5gb."),
            "accelerator_sharing": _("Memory is not kept apart then: such a machine never grades."),
            "accelerator_topology": _("Of a TPU, like 2x2."),
            "fallback": _("A machine without a GPU that people who wait may use at once."),
            "image": _("By its digest, name@sha256:…"),
            "runtime_class": _("Like gvisor."),
        }  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            # Pods, warm pools and bookmarks go by it.
            del self.fields["slug"]
            self.initial["courses"] = Course.objects.filter(profiles=self.instance.pk)
        chosen = {"courses": Course.objects.filter(archived_at=None).order_by("title"), "fallback": self._fallbacks()}
        for name, queryset in chosen.items():
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = queryset

    def _fallbacks(self) -> Any:
        usable = Q(gpu=0, retired_at=None) | Q(pk=self.instance.fallback_id)
        return Profile.objects.filter(usable).exclude(pk=self.instance.pk).order_by("name")

    @property
    def groups(self) -> Iterator[tuple[Any, list[forms.BoundField], bool, bool]]:
        """(heading, fields, whether it may be folded, whether it is)."""
        for title, names, folds in self.GROUPS:
            fields = [self[name] for name in names if name in self.fields]
            yield title, fields, folds, folds and not any(self._is_set(field) for field in fields)

    def _is_set(self, field: forms.BoundField) -> bool:
        if field.errors or (self.is_bound and field.name in self.changed_data):
            return True
        # Another kind or reserved share of nothing is nothing.
        return bool(field.initial) and field.initial != getattr(Profile(), field.name)

    def clean_name(self) -> str:
        """Raises ValidationError for another machine's name: teachers would have to guess which is which."""
        name = str(self.cleaned_data["name"])
        if Profile.objects.filter(name=name, retired_at=None).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(gettext("There is a machine “%(name)s” already.") % {"name": name})
        return name

    def clean_slug(self) -> str:
        """Raises ValidationError for a name that is taken."""
        slug = self.cleaned_data["slug"] or slugify(self.cleaned_data.get("name", ""))[:50] or "machine"
        if Profile.objects.filter(slug=slug).exists():
            raise forms.ValidationError(gettext("There is a machine “%(name)s” already.") % {"name": slug})
        return str(slug)

    def clean_tolerations(self) -> Any:
        """Empty is none."""
        return self.cleaned_data["tolerations"] or []

    def save(self, commit: bool = True) -> Profile:
        """The row, and the courses that may choose it."""
        profile: Profile = super().save(commit)
        Course.profiles.through.objects.filter(profile=profile).delete()
        for course in self.cleaned_data["courses"]:
            course.profiles.add(profile)
        return profile
