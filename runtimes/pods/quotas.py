"""What the API means where a pod is refused for the quota of the namespace: what is lacking, and for how long. Pure."""

from __future__ import annotations

import math
import re

from runtimes.pods.quantities import amount

# As the API words it: exceeded quota: NAME, requested: pods=1, used: pods=9, limited: pods=9 (k8s.io/apiserver, quota).
_QUOTA = re.compile(r"requested: (?P<requested>.*?), used: (?P<used>.*?), limited: (?P<limited>[^;]*)")


def exceeded(message: str) -> bool:
    """Whether the API refused a pod for the quota."""
    return "exceeded quota" in message


def beyond_all(message: str) -> bool | None:
    """Whether not even the whole quota would do, whoever ends; None where the API words its refusal otherwise."""
    found = _QUOTA.search(message)
    if found is None:
        return None
    requested, limited = (_amounts(found[part]) for part in ("requested", "limited"))
    return any(wanted > limited[resource] for resource, wanted in requested.items() if resource in limited)


def beyond(message: str) -> dict[str, float]:
    """By how much the quota was exceeded, by resource; nothing where it was not."""
    found = _QUOTA.search(message)
    if found is None:
        return {}
    requested, used, limited = (_amounts(found[part]) for part in ("requested", "used", "limited"))
    over = {name: used.get(name, 0.0) + wanted - limited.get(name, math.inf) for name, wanted in requested.items()}
    return {name: size for name, size in over.items() if size > 0}


def _amounts(text: str) -> dict[str, float]:
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {resource.strip(): amount(value.strip()) for resource, _equals, value in pairs}
