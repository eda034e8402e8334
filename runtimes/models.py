"""Files that work is made of, and the machines it runs on.

A person is an opaque `subject` string here and a bill goes to an opaque `account` string, so that nothing in this
app needs to know a course. Bytes live behind `STORAGES["work"]`; rows name them by SHA-256.
"""

from __future__ import annotations

import secrets
import string
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runtimes.profile_checks import problems

MIB = 1024 * 1024
GIB = 1024 * MIB
_SLUG_ALPHABET = string.ascii_lowercase + string.digits


def random_slug() -> str:
    """20 characters of [a-z0-9] that begin with a letter: a valid DNS label (RFC 1035 §2.3.1), 103 bits of chance."""
    return "w" + "".join(secrets.choice(_SLUG_ALPHABET) for _ in range(20))


def random_runtime_name() -> str:
    """A DNS-safe name that is never used twice: keys are derived from it."""
    return "r" + "".join(secrets.choice(_SLUG_ALPHABET) for _ in range(20))


class Blob(models.Model):
    """Immutable bytes, named by their SHA-256 (hexadecimal)."""

    sha256 = models.CharField(primary_key=True, max_length=64)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.sha256[:12]


class Profile(models.Model):
    """What a runtime gets: a machine, an environment, limits and a network.

    gpu counts accelerators of the kind `accelerator`. `warm` are kept ready always, and as many as `timetable` says in
    class hours (`runtimes/timetable.py`). image, by digest, replaces `environment` where runtimes are pods, and what
    follows it is for them (`runtimes/machine.py`). data_claim, or data_bucket read as data_service_account: data.
    fallback: what people may use at once who wait for a seat. A profile that is retired goes on for what has it.
    kept_by: who sets it back to what its own file says, such as "Helm release pupitre"; "" is nobody. image_untried: it
    was saved before anybody could tell whether its image runs; tried_site_image: the site's own image when that was
    told of one that names none (`trials.note`)."""

    class Network(models.TextChoices):
        NONE = "none", _("no network")
        INDEX = "index", _("a package index, nothing else")
        INTERNET = "internet", _("internet, without private addresses")

    class Isolation(models.TextChoices):
        FORKED = "forked", _("forked from a warm process (fast)")
        STRICT = "strict", _("a process of its own from the start (strict)")

    class Accelerator(models.TextChoices):
        GPU = "gpu", _("NVIDIA GPU")
        TPU = "tpu", _("Google TPU")

    class Sharing(models.TextChoices):
        TIME = "time-sharing", _("in turns, memory not kept apart")

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    environment = models.CharField(max_length=200, default="default")
    cpu = models.DecimalField(max_digits=6, decimal_places=2, default=1)
    memory_bytes = models.BigIntegerField(default=2 * GIB)
    home_bytes = models.BigIntegerField(default=1 * GIB)
    processes = models.PositiveIntegerField(default=128)
    gpu = models.PositiveIntegerField(default=0)
    accelerator = models.CharField(max_length=10, choices=Accelerator, default=Accelerator.GPU)
    accelerator_model = models.CharField(max_length=100, blank=True)
    accelerator_partition = models.CharField(max_length=63, blank=True)
    accelerator_sharing = models.CharField(max_length=20, choices=Sharing, blank=True)
    accelerator_clients = models.PositiveIntegerField(default=0)
    accelerator_topology = models.CharField(max_length=20, blank=True)
    network = models.CharField(max_length=10, choices=Network, default=Network.NONE)
    isolation = models.CharField(max_length=10, choices=Isolation, default=Isolation.FORKED)
    idle_timeout = models.DurationField(default=timedelta(minutes=30))
    lifetime = models.DurationField(default=timedelta(hours=12))
    preload = models.JSONField(default=list, blank=True)
    warm = models.PositiveIntegerField(default=0)
    timetable = models.JSONField(default=list, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    image = models.CharField(max_length=400, blank=True)
    cpu_request = models.DecimalField(max_digits=6, decimal_places=2, default=Decimal("0.1"))
    node_selector = models.JSONField(default=dict, blank=True)
    tolerations = models.JSONField(default=list, blank=True)
    runtime_class = models.CharField(max_length=253, blank=True)
    scratch_bytes = models.BigIntegerField(default=0)
    data_claim = models.CharField(max_length=253, blank=True)
    data_bucket = models.CharField(max_length=222, blank=True)
    data_service_account = models.CharField(max_length=253, blank=True)
    fallback = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    for_all = models.BooleanField(default=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    kept_by = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    image_untried = models.BooleanField(default=False, db_default=False, editable=False)
    tried_site_image = models.CharField(max_length=400, blank=True, default="", db_default="", editable=False)

    def __str__(self) -> str:
        return self.name

    @property
    def accelerators(self) -> float:
        """GPUs or TPUs that one of its runtimes takes: of a shared one its part."""
        return self.gpu / max(self.accelerator_clients, 1)

    def clean(self) -> None:
        """Raises ValidationError with a sentence for each field that no provider could run."""
        if found := problems(self):
            raise ValidationError(found)


class ProfileTrial(models.Model):
    """A question to the `runtimes` process: would the provider run this profile? `profile` is the serialized row as it
    was filled in; `refusal` the provider's own words, "" if it would. tries_image: it starts the image, too, and all
    else is well since `trying_image_at`; `untried`: why that told nothing (`image_trial.Untried`), `words` its own."""

    profile = models.TextField()
    refusal = models.TextField(blank=True)
    tries_image = models.BooleanField(default=False, db_default=False)
    trying_image_at = models.DateTimeField(null=True)
    untried = models.CharField(max_length=10, blank=True, default="", db_default="")
    words = models.TextField(blank=True, default="", db_default="")
    asked_at = models.DateTimeField(default=timezone.now)
    answered_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"asked {self.asked_at:%H:%M:%S}"


class Workspace(models.Model):
    """One person's (or one group's) files for one piece of work. `slug` is a host name below the notebook domain."""

    slug = models.CharField(max_length=32, unique=True, default=random_slug, editable=False)
    profile = models.ForeignKey(Profile, on_delete=models.PROTECT)
    account = models.CharField(max_length=200)
    title = models.CharField(max_length=200, blank=True)
    quota_bytes = models.BigIntegerField(default=1 * GIB)
    read_only = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.slug


class WorkspaceFile(models.Model):
    """The current content of one path. Paths are relative, with '/', checked by `storage.safe_path`. executable: it may
    be run in a runtime, where it has mode 0755 and not 0644."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="files")
    path = models.CharField(max_length=500)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    executable = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(default=timezone.now)
    modified_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace", "path"], name="one_file_a_path"),
        ]

    def __str__(self) -> str:
        return self.path


class TreeChange(models.Model):
    """What a person removed, or renamed to `moved_to`: a live runtime's disk follows. `files`: the paths it was about.

    Kept for a while after it was applied there: a pull that began before may still bring the old files."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="tree_changes")
    path = models.CharField(max_length=500)
    moved_to = models.CharField(max_length=500, blank=True)
    files = models.JSONField(default=list)
    made_at = models.DateTimeField(default=timezone.now)
    lease_until = models.DateTimeField(null=True)
    applied_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["workspace", "applied_at"])]

    def __str__(self) -> str:
        return f"{self.path} → {self.moved_to or 'removed'}"


class FileVersion(models.Model):
    """An earlier or rival content of a path: a checkpoint, or a notebook that student code rewrote."""

    class Source(models.TextChoices):
        CHECKPOINT = "checkpoint", _("saved by hand")
        CODE = "code", _("written by code")
        REPLACED = "replaced", _("replaced")

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="versions")
    path = models.CharField(max_length=500)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    source = models.CharField(max_length=12, choices=Source)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["workspace", "path", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.path} ({self.source})"


class Snapshot(models.Model):
    """A set of files that never changes. `digest` is the SHA-256 of its sorted "path NUL sha256 LF" lines."""

    digest = models.CharField(max_length=64, db_index=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.digest[:12]


class SnapshotFile(models.Model):
    """One file of a snapshot."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="files")
    path = models.CharField(max_length=500)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["snapshot", "path"], name="one_snapshot_file_a_path"),
        ]

    def __str__(self) -> str:
        return self.path


class Document(models.Model):
    """A file that is or was open for shared editing: a Yjs document whose log is `DocumentUpdate` (or a Redis stream).

    The id is the `fileId` of jupyter-collaboration. `snapshot` holds the merged updates up to `snapshot_seq`;
    `saved_seq` is the last update that is part of the file in storage.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="documents")
    path = models.CharField(max_length=500)
    format = models.CharField(max_length=10)
    type = models.CharField(max_length=20)
    snapshot = models.BinaryField(default=bytes)
    snapshot_seq = models.BigIntegerField(default=0)
    saved_seq = models.BigIntegerField(default=0)
    saved_at = models.DateTimeField(null=True)
    saved_sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace", "path"], name="one_document_a_path"),
        ]

    def __str__(self) -> str:
        return f"{self.path} ({self.id})"


class DocumentUpdate(models.Model):
    """One Yjs update. The primary key orders a document's log; `origin` is the process that wrote it."""

    id = models.BigAutoField(primary_key=True)
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="updates")
    data = models.BinaryField()
    origin = models.CharField(max_length=32)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["document", "id"])]

    def __str__(self) -> str:
        return f"{self.document_id}/{self.id}"


class Runtime(models.Model):
    """One sandbox or pod. The row is the request: whoever wants a runtime writes it, the `runtimes` process obeys.

    `reserved`: what its profile gave when it was ready (cpu, memory_bytes, gpu): a profile may change while it runs.
    `cpu_meter`: the processor time that it used so far (`runtimes/meter.py`). `executed_at`: when somebody last began
    an execution. `load_since`: since when none was, where it goes on using its processors (`runtimes/load.py`);
    `slowed`: its provider gives it less for that. `in_vain_since`: since when it has waited for a machine that is not
    there (`runtimes/rows.py`).
    `message`: a sentence for the person concerned, as in the source. `detail`: the provider's own words, for operators.
    `left_out`: path → why (a sentence of the source language) of the files there that storage has not got.
    `not_brought`: path of its record → name and version of what pip installed that is not there, since storage has not
    got all of it; until it is installed again."""

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        STARTING = "starting", _("starting")
        READY = "ready", _("ready")
        STOPPING = "stopping", _("stopping")
        STOPPED = "stopped", _("stopped")
        LOST = "lost", _("lost")
        FAILED = "failed", _("failed")

    class Purpose(models.TextChoices):
        INTERACTIVE = "interactive", _("interactive work")
        GRADING = "grading", _("grading")
        CHECK = "check", _("check")

    LIVE: ClassVar = [State.QUEUED, State.STARTING, State.READY, State.STOPPING]

    name = models.CharField(max_length=32, unique=True, default=random_runtime_name, editable=False)
    workspace = models.ForeignKey(Workspace, null=True, on_delete=models.PROTECT, related_name="runtimes")
    profile = models.ForeignKey(Profile, on_delete=models.PROTECT)
    purpose = models.CharField(max_length=12, choices=Purpose, default=Purpose.INTERACTIVE)
    account = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    reason = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)
    detail = models.TextField(blank=True)
    isolation = models.CharField(max_length=300, blank=True)
    provider = models.CharField(max_length=40, blank=True)
    endpoint = models.JSONField(default=dict, blank=True)
    preload = models.JSONField(default=list, blank=True)
    env = models.JSONField(default=dict, blank=True)
    key_version = models.PositiveIntegerField(default=1)
    environment_digest = models.CharField(max_length=80, blank=True)
    reserved = models.JSONField(default=dict, blank=True)
    cpu_meter = models.JSONField(default=dict, blank=True)
    requested_at = models.DateTimeField(default=timezone.now)
    in_vain_since = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    deadline = models.DateTimeField(null=True)
    last_active_at = models.DateTimeField(default=timezone.now)
    executed_at = models.DateTimeField(null=True)
    load_since = models.DateTimeField(null=True)
    slowed = models.BooleanField(default=False)
    stopped_at = models.DateTimeField(null=True)
    pulled_at = models.DateTimeField(null=True)
    left_out = models.JSONField(default=dict, blank=True)
    not_brought = models.JSONField(default=dict, blank=True)
    lease_until = models.DateTimeField(null=True)
    # Others wait for its seat, and one cell has run for hours: its deadline was brought forward.
    yields = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workspace"],
                condition=Q(state__in=["queued", "starting", "ready", "stopping"]),
                name="one_live_runtime_a_workspace",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["state", "requested_at"]),
            # Usage is asked for by period.
            models.Index(fields=["ready_at"]),
        ]
        permissions: ClassVar = [("operate", "Can see all runtimes and stop them")]

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"


class Kernel(models.Model):
    """One kernel process in a runtime. `index` addresses its sockets; the id is the Jupyter kernel id. `died_of` and
    `died_at`: its last end that nobody asked for, also once it runs again."""

    class State(models.TextChoices):
        REQUESTED = "requested", _("requested")
        STARTING = "starting", _("starting")
        RUNNING = "running", _("running")
        RESTARTING = "restarting", _("restarting")
        STOPPING = "stopping", _("stopping")
        DEAD = "dead", _("dead")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, null=True, on_delete=models.PROTECT, related_name="kernels")
    runtime = models.ForeignKey(Runtime, on_delete=models.PROTECT, related_name="kernels")
    index = models.PositiveIntegerField()
    name = models.CharField(max_length=60, default="python3")
    cwd = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=12, choices=State, default=State.REQUESTED)
    reason = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)
    execution_state = models.CharField(max_length=12, default="starting")
    restarts = models.PositiveIntegerField(default=0)
    died_of = models.CharField(max_length=40, blank=True)
    died_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    last_activity = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["runtime", "index"], condition=~Q(state="dead"), name="one_live_kernel_an_index"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.state})"


class Lease(models.Model):
    """Which process does a thing that only one may do, and until when it may rely on that."""

    name = models.CharField(max_length=40, unique=True)
    holder = models.CharField(max_length=100)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"


class ProviderReport(models.Model):
    """What the `runtimes` process last saw of its provider. `warm`: unclaimed runtimes that are ready. `pools`: for
    each profile (its slug) of which some shall be kept ready, now or in class hours, how many are `wished` and `ready`.
    `lacks`: see `Provider.warm_lacks`. `accelerators`: GPUs or TPUs in all; None where the provider does not know."""

    provider = models.CharField(max_length=40, unique=True)
    warm = models.PositiveIntegerField(default=0)
    pools = models.JSONField(default=dict, db_default=models.Value({}, output_field=models.JSONField()))
    lacks = models.JSONField(default=dict, db_default=models.Value({}, output_field=models.JSONField()))
    accelerators = models.PositiveIntegerField(null=True)
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.provider}: {self.warm} warm"


class Session(models.Model):
    """A Jupyter session: which kernel belongs to which notebook of a workspace."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="sessions")
    kernel = models.ForeignKey(Kernel, on_delete=models.PROTECT, related_name="sessions")
    path = models.CharField(max_length=500)
    name = models.CharField(max_length=200, blank=True)
    type = models.CharField(max_length=20, default="notebook")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        # Not unique: two pages that open one notebook at once have a session each, with one kernel.
        indexes: ClassVar = [models.Index(fields=["workspace", "path"])]

    def __str__(self) -> str:
        return self.path


class Run(models.Model):
    """One cell that shall run, or ran, server-side. Queued rows of a kernel run in (batch, position) order."""

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    kernel = models.ForeignKey(Kernel, on_delete=models.CASCADE, related_name="runs")
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="runs")
    cell_id = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    subject = models.CharField(max_length=100, blank=True)
    after_seq = models.BigIntegerField(default=0)
    #: The page's own name for this one request, which it may send again; "" where it gave none.
    number = models.CharField(max_length=64, blank=True, default="", db_default="")
    batch = models.BigIntegerField(default=0)
    position = models.PositiveIntegerField(default=0)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["kernel", "state", "batch", "position"])]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kernel", "number"], condition=~models.Q(number=""), name="one_run_a_request"
            )
        ]

    def __str__(self) -> str:
        return f"{self.cell_id} ({self.state})"


class Ticket(models.Model):
    """A one-time pass from the site to one workspace's host. Only the SHA-256 of the secret is kept."""

    class Mode(models.TextChoices):
        WRITE = "write", _("may edit and run")
        READ = "read", _("may read")

    secret_sha256 = models.CharField(max_length=64, unique=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="tickets")
    subject = models.CharField(max_length=100)
    display_name = models.CharField(max_length=200)
    mode = models.CharField(max_length=5, choices=Mode)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.workspace_id} {self.mode}"


class FrontEndSetting(models.Model):
    """One plugin's settings of one person in the notebook front end, as the JSON5 text that they typed."""

    subject = models.CharField(max_length=100)
    plugin = models.CharField(max_length=200)
    raw = models.TextField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject", "plugin"], name="one_setting_a_plugin"),
        ]

    def __str__(self) -> str:
        return self.plugin


class Usage(models.Model):
    """What one runtime used, charged to its account. Seconds are wall-clock seconds times what was reserved.

    `cpu_used_seconds`: processor time as it was measured; None where nobody could tell."""

    runtime = models.OneToOneField(Runtime, on_delete=models.PROTECT, related_name="usage")
    account = models.CharField(max_length=200, db_index=True)
    wall_seconds = models.FloatField(default=0)
    cpu_seconds = models.FloatField(default=0)
    cpu_used_seconds = models.FloatField(null=True)
    memory_gib_seconds = models.FloatField(default=0)
    gpu_seconds = models.FloatField(default=0)
    recorded_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.account} {self.wall_seconds:.0f} s"
