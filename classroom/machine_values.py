"""Machines as the chart's values have them: in Kubernetes' words for amounts, whole, by short name. Pure.

    machines:
      - {slug: l4, name: "GPU · NVIDIA L4", cpu: 4, memory: 16Gi, gpu: 1, model: nvidia-l4, idleTimeout: 20m, warm: 2}

What an entry leaves out is what a new machine has. `courses` are none of it: they are chosen in the site.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import yaml
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from runtimes.models import Profile

Entry = Mapping[str, Any]

_TEXT, _NUMBER, _AMOUNT = (str,), (int,), (str, int, float)
#: Key → field of a profile, and what YAML or JSON may have there.
KEYS: dict[str, tuple[str, tuple[type, ...]]] = {
    "slug": ("slug", _TEXT),
    "name": ("name", _TEXT),
    "forAll": ("for_all", (bool,)),
    "retired": ("retired_at", (bool,)),
    "cpu": ("cpu", _AMOUNT),
    "cpuRequest": ("cpu_request", _AMOUNT),
    "memory": ("memory_bytes", _AMOUNT),
    "disk": ("home_bytes", _AMOUNT),
    "scratch": ("scratch_bytes", _AMOUNT),
    "processes": ("processes", _NUMBER),
    "environment": ("environment", _TEXT),
    "preload": ("preload", (list,)),
    "network": ("network", _TEXT),
    "isolation": ("isolation", _TEXT),
    "idleTimeout": ("idle_timeout", _TEXT),
    "lifetime": ("lifetime", _TEXT),
    "warm": ("warm", _NUMBER),
    "timetable": ("timetable", (list,)),
    "timeZone": ("time_zone", _TEXT),
    "gpu": ("gpu", _NUMBER),
    "tpu": ("gpu", _NUMBER),
    "model": ("accelerator_model", _TEXT),
    "partition": ("accelerator_partition", _TEXT),
    "sharing": ("accelerator_sharing", _TEXT),
    "clients": ("accelerator_clients", _NUMBER),
    "topology": ("accelerator_topology", _TEXT),
    "fallback": ("fallback", _TEXT),
    "image": ("image", _TEXT),
    "nodeSelector": ("node_selector", (dict,)),
    "tolerations": ("tolerations", (list,)),
    "runtimeClassName": ("runtime_class", _TEXT),
    "dataClaim": ("data_claim", _TEXT),
    "dataBucket": ("data_bucket", _TEXT),
    "dataServiceAccount": ("data_service_account", _TEXT),
}
_KINDS = {
    _TEXT: _("text"),
    _NUMBER: _("a whole number"),
    _AMOUNT: _("an amount such as 2, 500m or 4Gi"),
    (bool,): _("true or false"),
    (list,): _("a list"),
    (dict,): _("keys and values"),
}
_BINARY = (("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("", 1))
_CLOCK = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


# --- reading


def read(text: str) -> list[Any]:
    """The machines of a file: a list, or what stands at `machines` of a whole values.yaml. Raises ValueError."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(gettext("It is neither YAML nor JSON: %(why)s") % {"why": error}) from error
    machines = found.get("machines") if isinstance(found, dict) else found
    if isinstance(machines, list):
        return machines
    raise ValueError(gettext("It has no list of machines, and no key “machines” with one."))


def mistakes(entry: Any) -> Iterator[str]:
    """What is no entry at all, in sentences. What is wrong with a machine itself, its form says."""
    if not isinstance(entry, Mapping):
        yield gettext("“%(entry)s” is no machine: write its keys and values, such as slug: standard.") % {
            "entry": entry
        }
        return
    if not isinstance(entry.get("slug"), str) or not entry["slug"]:
        yield gettext("It has no slug: give it a short name such as “standard”, by which it is known from then on.")
    for key, value in entry.items():
        if key not in KEYS:
            yield _unknown(str(key))
        elif isinstance(value, bool) is not (KEYS[key][1] == (bool,)) or not isinstance(value, KEYS[key][1]):
            told = {"key": key, "value": value, "kind": _KINDS[KEYS[key][1]]}
            yield gettext("%(key)s: “%(value)s” stands where %(kind)s should.") % told
    if entry.get("gpu") and entry.get("tpu"):
        yield gettext("tpu: A machine has GPUs or TPUs, and not both.")


def form_data(entry: Entry) -> dict[str, Any]:
    """What the form is given for an entry without mistakes: every field, `accelerator` by which kind is counted."""
    whole = _USUAL | dict(entry) | {"gpu": entry.get("tpu") or entry.get("gpu", 0)}
    data = {KEYS[key][0]: value for key, value in whole.items() if key not in {"tpu", "retired"}}
    return data | {"accelerator": Profile.Accelerator.TPU if entry.get("tpu") else Profile.Accelerator.GPU}


def key_of(field: str, entry: Entry) -> str:
    """How an entry calls a field of the form."""
    if field == "gpu" and entry.get("tpu"):
        return "tpu"
    return next((key for key, (name, _kinds) in KEYS.items() if name == field), field)


def lasting(text: str) -> timedelta:
    """A length of time as 30m, 12h or 1d. Raises ValueError with what to write."""
    found = _CLOCK.fullmatch(text)
    if not text or found is None:
        raise ValueError(gettext("“%(text)s” is not a length of time such as 30m or 12h.") % {"text": text})
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _unknown(key: str) -> str:
    near = get_close_matches(key, KEYS, n=1)
    if near:
        return gettext("“%(key)s” is nothing that a machine has: “%(near)s”?") % {"key": key, "near": near[0]}
    return gettext("“%(key)s” is nothing that a machine has. It may have: %(keys)s.") % {
        "key": key,
        "keys": ", ".join(KEYS),
    }


# --- writing


def words_of(profile: Profile) -> dict[str, Any]:
    """Everything that a machine is, as an entry. It is read again as the same machine."""
    kind = profile.Accelerator(profile.accelerator)
    own = {key: getattr(profile, field) for key, (field, _kinds) in KEYS.items()}
    written = {
        "retired": profile.retired_at is not None,
        "fallback": profile.fallback.slug if profile.fallback else "",
        "gpu": profile.gpu if kind == profile.Accelerator.GPU else 0,
        "tpu": profile.gpu if kind == profile.Accelerator.TPU else 0,
    }
    return {key: written.get(key, _word(key, value)) for key, value in own.items()}


def entry_of(profile: Profile) -> dict[str, Any]:
    """The same without what a new machine has anyway: what an administrator puts into values."""
    named = {"slug", "name"}
    return {key: word for key, word in words_of(profile).items() if key in named or word != _USUAL[key]}


def _word(key: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        return _lasting(value)
    if KEYS[key][0].endswith("_bytes"):
        return next(f"{value // size}{suffix}" for suffix, size in _BINARY if value % size == 0)
    if key in {"cpu", "cpuRequest"}:
        return _cores(Decimal(value))
    return str(value) if isinstance(value, str) else value


def _cores(cores: Decimal) -> int | str:
    return int(cores) if cores == int(cores) else f"{int(cores * 1000)}m"


def _lasting(value: timedelta) -> str:
    minutes, seconds = divmod(int(value.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


_USUAL = words_of(Profile())
