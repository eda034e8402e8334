"""A thousand runtimes as pods on simulated nodes: whether the provider's work stays linear.

    python -m bench.many [--steps 250 500 1000]

On the cluster of KUBECONFIG, whose simulated nodes (KWOK: label type=kwok, taint kwok.x-k8s.io/node) make pods Ready
with no process behind them; `../shared/cluster/simulate 10` makes ten. For each step: seconds until all are ready, the
API's calls for each runtime, the list of all that exists which the reconciler compares with rows, one round of the
provider's own care, and this process's memory. What the agents inside cost is not in it: there are none.

Then the rows' side, on the embedded database and without a cluster: one look of the reconciler over as many rows that
all have their keeper, with its queries, and the names that it compares with what exists.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asgiref.sync import sync_to_async

from bench._report import last_line, table
from bench._storm_site import fresh_place

SIMULATED = {"node_selector": {"type": "kwok"}, "tolerations": ({"key": "kwok.x-k8s.io/node", "operator": "Exists"},)}
PAGE_BYTES, MIB = 4096, 1 << 20
PASSES = 5
ROW_HEADINGS = ["runtimes", "one look, ms", "queries", "names, ms", "usage, ms", "memory, MiB"]
HEADINGS = ["runtimes", "s until ready", "calls each", "all listed, ms", "all tended, ms", "memory, MiB"]


def memory_mib() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / MIB


async def milliseconds(act: Callable[[], Awaitable[object]]) -> float:
    """The median of some runs."""
    seconds = []
    for _ in range(PASSES):
        begun = time.perf_counter()
        await act()
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds)


async def measure(steps: list[int]) -> list[list[float]]:
    """A row of figures for each step; see HEADINGS."""
    from runtimes.machine import Machine
    from runtimes.pods.namespace import Quota
    from runtimes.provider import MIB as MEBIBYTE
    from runtimes.provider import Limits, Phase, Request
    from tests.runtimes.pods.real import own_namespace, running

    most = max(steps) + 10
    room = Quota(pods=most, cpu_cores=most, memory_bytes=most << 30, scratch_bytes=most << 30)
    machine = Machine("many", cpu_request=0.01, **SIMULATED)  # type: ignore[arg-type]
    limits = Limits(memory_bytes=200 * MEBIBYTE)
    found: list[list[float]] = []
    async with own_namespace(room) as (_admin, config), running(config) as provider:
        have = 0
        for count in steps:
            calls, begun = provider._cluster.calls, time.perf_counter()
            names = [f"many-{number}" for number in range(have, count)]
            await asyncio.gather(*(provider.acquire(Request(name, limits, machine=machine)) for name in names))
            while not all([(await provider.status(name)).phase is Phase.READY for name in names]):
                await asyncio.sleep(0.2)
            seconds, calls = time.perf_counter() - begun, provider._cluster.calls - calls

            passes = [await milliseconds(provider.owned), await milliseconds(provider._look_around)]
            row = [count, round(seconds, 1), round(calls / len(names), 2), *map(round, passes), round(memory_mib())]
            found.append(row)
            print(json.dumps(dict(zip(HEADINGS, found[-1], strict=True))), flush=True)
            have = count
        await asyncio.gather(*(provider.release(f"many-{number}") for number in range(have)))
    return found


async def measure_rows(steps: list[int]) -> list[list[float]]:
    """A row of figures for each step; see ROW_HEADINGS."""
    from django.db import connections
    from django.test.utils import CaptureQueriesContext
    from django.utils import timezone

    from runtimes import rows
    from runtimes.keeper import Keeper
    from runtimes.models import Profile, Runtime
    from runtimes.reconcile import Reconciler

    nobody: Any = SimpleNamespace(slug="none", lends=False)
    profile = await Profile.objects.acreate(slug="many", name="Many")
    reconciler = Reconciler(nobody)
    found: list[list[float]] = []
    for count in steps:
        new = count - await Runtime.objects.acount()
        ready = {"state": Runtime.State.READY, "ready_at": timezone.now()}
        await Runtime.objects.abulk_create(Runtime(profile=profile, account="a", **ready) for _ in range(new))
        for row in await rows.live():
            reconciler._keepers.setdefault(row.name, Keeper(nobody, row))
        kept = [keeper.row for keeper in reconciler._keepers.values()]
        # Everything about rows happens in one thread, with one connection.
        queries = CaptureQueriesContext(await sync_to_async(lambda: connections["default"])())
        await sync_to_async(queries.__enter__)()
        await reconciler._look()
        await sync_to_async(queries.__exit__)(None, None, None)
        passes = [
            await milliseconds(each) for each in (reconciler._look, rows.names_live, partial(rows.record_usage, kept))
        ]
        look, names, usage = (round(each, 1) for each in passes)
        found.append([count, look, len(queries), names, usage, round(memory_mib())])
        print(json.dumps(dict(zip(ROW_HEADINGS, found[-1], strict=True))), flush=True)
    return found


def figures_of(headings: list[str], found: list[list[float]]) -> dict[str, Any]:
    """Number of runtimes → its figures by name."""
    return {str(row[0]): dict(zip(headings[1:], row[1:], strict=True)) for row in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[250, 500, 1000])
    chosen = parser.parse_args()
    with fresh_place(postgres=False):
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        of_rows = asyncio.run(measure_rows(chosen.steps))
        of_pods = asyncio.run(measure(chosen.steps)) if os.environ.get("KUBECONFIG") else []
    print(table(ROW_HEADINGS, of_rows))
    figures: dict[str, Any] = {"rows": figures_of(ROW_HEADINGS, of_rows)}
    # How much more a runtime costs at the end than at the beginning, in one look or one list: 1 is linear.
    each = [row[1] / row[0] for row in of_rows]
    if of_pods:
        print(table(HEADINGS, of_pods))
        figures["pods"] = figures_of(HEADINGS, of_pods)
        each = [row[3] / row[0] for row in of_pods]
    else:
        print("NO CLUSTER, so nothing is said of pods: set KUBECONFIG to one with simulated nodes.")
    print(last_line("many", ratio=each[0] / each[-1], figures=figures))


if __name__ == "__main__":
    main()
