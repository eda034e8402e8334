"""Benchmarks start and measure what they say. How long anything takes is no matter here: a machine may be busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from bench import _launch_pods, grading
from classroom.places import CHECKOUT

MODULES = sorted(path.stem for path in (CHECKOUT / "bench").glob("*.py") if path.stem != "__init__")
BENCHES = [name for name in MODULES if not name.startswith("_")]
IMPORT_ALL = "import django, importlib, sys; django.setup(); [importlib.import_module(name) for name in sys.argv[1:]]"


def run(*command: str) -> str:
    """What Python prints, as on a machine where nobody has set up Django; it must end well."""
    # Each makes a data folder, a port and a database of its own.
    done = subprocess.run(
        [sys.executable, *command], cwd=CHECKOUT, env=os.environ | {"DATABASE_URL": "", "REDIS_URL": ""},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def lines_of(name: str, *options: str) -> dict[str, dict[str, Any]]:
    """What a bench says of itself in JSON, by name; its own line is the last."""
    printed = run("-m", f"bench.{name}", *options).splitlines()
    found = [json.loads(line) for line in printed if line.startswith('{"bench"')]
    assert json.loads(printed[-1])["bench"] == name
    return {line["bench"]: line for line in found}


def test_every_module_of_the_benches_can_be_imported() -> None:
    run("-c", IMPORT_ALL, *(f"bench.{name}" for name in MODULES))


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_says_how_it_is_called(name: str) -> None:
    assert f"python -m bench.{name}" in run("-m", f"bench.{name}", "--help")


@pytest.mark.parametrize(("ratio", "different", "status"), [(15.0, 0, 0), (40.0, 0, 0), (14.9, 0, 1), (40.0, 1, 1)])
def test_grading_that_is_too_slow_or_differs_from_nbgrader_fails_its_bench(ratio, different, status) -> None:
    assert grading.status(ratio, different=different) == status


@pytest.mark.parametrize(
    ("claims", "status"),
    [([0.05] * 19 + [9.0], 0), ([0.1] * 20, 0), ([0.05] * 18 + [0.11] * 2, 1)],
    ids=["one of twenty is slow", "just", "two of twenty are slow"],
)
def test_claims_that_are_too_slow_fail_their_bench(claims, status, capsys) -> None:
    assert _launch_pods.report({"cold": [1.0], _launch_pods.WARM: claims}) == status
    assert '"bench": "launch pods"' in capsys.readouterr().out


@pytest.mark.live
@pytest.mark.sandbox
@pytest.mark.timeout(600)
def test_the_bench_of_launches_clicks_open_and_reads_the_output_in_the_document() -> None:
    lines = lines_of("launch", "--rounds=1", "--together=1", "--pause=0")
    click, kernel = lines["launch"], lines["launch kernel"]
    assert click["identical"] is True
    assert {"Open, a sandbox forked on the click", "stock jupyter_server, running"} <= click["figures"].keys()
    assert {"kernel, a sandbox forked", "kernel, stock jupyter_client"} <= kernel["figures"].keys()


def test_the_bench_of_sockets_delivers_what_the_peers_deliver() -> None:
    line = lines_of("socket", "--rounds=1", "--executions=20", "--lines=50", "--megabytes=1")["socket"]
    assert line["identical"] is True
    assert {"ours", "stock jupyter_server"} <= line["figures"].keys()
