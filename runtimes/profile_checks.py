"""What is wrong with a profile as it was filled in, field by field, in the reader's language. Pure.

What no provider could run is refused here; what one cluster cannot run is that cluster's to say (`Provider.refusal`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from runtimes import timetable
from runtimes.machine import image_digest, spans_hosts, topology_chips

if TYPE_CHECKING:
    from runtimes.models import Profile

# Kubernetes, "Labels and Selectors": an optional prefix and a name; a value may be empty.
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_TOLERATION = {"key", "operator", "value", "effect", "tolerationSeconds"}

# Twice a workspace's quota: what it keeps of packages is pushed at each start, and what does not fit ends the machine.
_LEAST_SCRATCH = 2 << 30

Problems = dict[str, list[str]]


def problems(profile: Profile) -> Problems:
    """Field → sentences; empty where nothing is wrong."""
    found: Problems = {}
    for check in (_image, _size, _accelerator, _placement, _data, _warm, _fallback):
        for field, sentence in check(profile):
            found.setdefault(field, []).append(sentence)
    return found


Found = list[tuple[str, str]]


def _image(profile: Profile) -> Found:
    if profile.image and not image_digest(profile.image):
        return [
            ("image", _("Name the image by its digest, as in registry/name@sha256:…, so that everyone gets the same."))
        ]
    return []


def _size(profile: Profile) -> Found:
    found: Found = []
    if profile.cpu <= 0:
        found.append(("cpu", _("A kernel needs some processor time.")))
    elif not 0 < profile.cpu_request <= profile.cpu:
        found.append(("cpu_request", _("Reserve more than nothing and at most what the profile may use.")))
    if profile.home_bytes >= profile.memory_bytes:
        # It is a tmpfs, in pods and in sandboxes: whoever fills one that is smaller reads "No space left on device".
        words = _(
            "The disk lies in memory: give it less than the memory, so that code that fills it reads that it is full, "
            "and is not ended. In a cluster large files belong in scratch space."
        )
        found.append(("home_bytes", words))
    if profile.scratch_bytes < 0:
        found.append(("scratch_bytes", _("Scratch space cannot be negative.")))
    elif 0 < profile.scratch_bytes < _LEAST_SCRATCH:
        words = _("All that a workspace keeps of installed packages must fit: at least 2 GB, or 0 for none.")
        found.append(("scratch_bytes", words))
    if profile.idle_timeout.total_seconds() <= 0 or profile.idle_timeout > profile.lifetime:
        found.append(("idle_timeout", _("The idle limit is above zero and at most the longest life.")))
    return found


def _accelerator(profile: Profile) -> Found:
    if not profile.gpu:
        return []
    return _tpu(profile) if profile.accelerator == profile.Accelerator.TPU else _gpu(profile)


def _gpu(profile: Profile) -> Found:
    found: Found = []
    if profile.accelerator_topology:
        found.append(("accelerator_topology", _("Only a TPU has a topology.")))
    if (profile.accelerator_partition or profile.accelerator_sharing) and profile.gpu != 1:
        found.append(("gpu", _("A part of a GPU, or a shared one, is asked for alone.")))
    if bool(profile.accelerator_sharing) != (profile.accelerator_clients > 1):
        found.append(("accelerator_clients", _("A shared GPU has a number of clients above one, and no other has it.")))
    return found


def _tpu(profile: Profile) -> Found:
    found: Found = []
    if not profile.accelerator_model:
        found.append(("accelerator_model", _("Name the TPU's model, such as tpu-v6e-slice.")))
    chips = topology_chips(profile.accelerator_topology)
    if not chips:
        found.append(("accelerator_topology", _("A TPU has a topology, such as 2x2.")))
    elif spans_hosts(profile.accelerator_topology):
        words = _(
            "A kernel has the chips of one host: at most 2x4, or 2x2x1 of a model whose topologies are three numbers."
        )
        found.append(("accelerator_topology", words))
    elif chips != profile.gpu:
        words = _("A topology of %(topology)s is %(chips)s chips, not %(count)s.")
        told = {"topology": profile.accelerator_topology, "chips": chips, "count": profile.gpu}
        found.append(("gpu", words % told))
    if profile.accelerator_partition or profile.accelerator_sharing or profile.accelerator_clients:
        found.append(("accelerator_sharing", _("A TPU is neither divided nor shared.")))
    return found


def _placement(profile: Profile) -> Found:
    found: Found = []
    if not _is_selector(profile.node_selector):
        found.append(("node_selector", _("A node selector is labels of nodes with their values, as text.")))
    tolerations = profile.tolerations
    if not isinstance(tolerations, list) or not all(_is_toleration(each) for each in tolerations):
        found.append(
            ("tolerations", _("Tolerations are a list; each has key, operator, value and effect as in Kubernetes."))
        )
    if profile.runtime_class and not _NAME.fullmatch(profile.runtime_class):
        found.append(("runtime_class", _("A runtime class has a name of small letters, digits, - and .")))
    return found


def _is_selector(selector: Any) -> bool:
    return isinstance(selector, Mapping) and all(
        isinstance(text, str) and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(text)
        for key, text in selector.items()
    )


def _is_toleration(toleration: Any) -> bool:
    return isinstance(toleration, Mapping) and bool(toleration) and set(toleration) <= _TOLERATION


def _data(profile: Profile) -> Found:
    found: Found = []
    if profile.data_claim and profile.data_bucket:
        found.append(("data_bucket", _("Data sets come from a volume claim or from a bucket, not from both.")))
    if bool(profile.data_bucket) != bool(profile.data_service_account):
        sentence = _("A bucket is read as a service account that may read it and nothing else; name both or neither.")
        found.append(("data_service_account", sentence))
    if profile.data_bucket and profile.network != profile.Network.INTERNET:
        found.append(("data_bucket", _("A bucket is reached over the internet: use a volume claim without it.")))
    for field in ("data_claim", "data_service_account"):
        if (text := getattr(profile, field)) and not _NAME.fullmatch(text):
            found.append((field, _("A name in Kubernetes has small letters, digits, - and .")))
    return found


def _warm(profile: Profile) -> Found:
    found: Found = []
    try:
        timetable.read(profile.timetable)
    except ValueError as error:
        found.append(("timetable", str(error)))
    try:
        ZoneInfo(profile.time_zone)
    except (ValueError, OSError, LookupError):
        found.append(("time_zone", _("This time zone is not known; an example is Europe/Paris.")))
    if profile.warm > timetable.MOST_WARM:
        sentence = _("Between 1 and %(most)s kernels can be kept warm.") % {"most": timetable.MOST_WARM}
        found.append(("warm", sentence))
    return found


def _fallback(profile: Profile) -> Found:
    other = profile.fallback
    if other is None:
        return []
    if not profile.gpu:
        return [("fallback", _("Only a profile with GPUs or TPUs has another to work on meanwhile."))]
    if other.gpu:
        return [("fallback", _("What people work on meanwhile has no GPU or TPU: else they would wait for that, too."))]
    return []
