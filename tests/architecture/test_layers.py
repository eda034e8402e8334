"""Imports and database relations run one way, and each outside world has one importer."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command

from classroom.places import CHECKOUT

LAYERS = ["runtimes", "grading", "classroom"]
# outside world: the only folder, or file, that may import it
ONE_IMPORTER = {
    "nbgrader": "grading/engine",
    "kubernetes": "runtimes/pods/cluster.py",
    "google.cloud": "runtimes/objects",
    "boto3": "runtimes/objects",
    "storages": "runtimes/objects",
    "googleapiclient": "classroom/google",
    "google_auth_oauthlib": "classroom/google",
    "jupyter_server": "runtimes/jupyter",
    "jupyterlab_server": "runtimes/jupyter",
    "notebook": "runtimes/jupyter",
    "pycrdt": "runtimes/jupyter",
    "starlette": "runtimes/jupyter",
}


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((CHECKOUT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_import_contracts_hold():
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("world", sorted(ONE_IMPORTER))
def test_an_outside_world_has_one_importer(world: str):
    home = CHECKOUT / ONE_IMPORTER[world]
    strangers = {
        str(path.relative_to(CHECKOUT))
        for path in python_files(*LAYERS, "deploy")
        if not path.is_relative_to(home)
        and any(name == world or name.startswith(f"{world}.") for name in imported(path))
    }
    assert not strangers, f"{world} belongs to {ONE_IMPORTER[world]}"


def test_what_runs_inside_a_runtime_imports_only_the_standard_library_pyzmq_and_the_kernel():
    allowed = {*sys.stdlib_module_names, "zmq", "ipykernel", "IPython", "jupyter_client", "traitlets", "runtimes"}
    # Libraries that the fork server warms up are imported where a release names them.
    allowed |= {"numpy", "pandas", "matplotlib", "matplotlib_inline", "pygments", "stack_data", "ipywidgets", "comm"}
    # What ipykernel runs on.
    allowed.add("tornado")
    strangers = {
        (path.name, name)
        for path in python_files("runtimes/agent")
        for name in imported(path)
        if name.split(".")[0] not in allowed or (name.startswith("runtimes") and not name.startswith("runtimes.agent"))
    }
    assert not strangers


def test_relations_between_models_run_one_way():
    user = settings.AUTH_USER_MODEL
    upwards = {
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for model in apps.get_models()
        if (layer := _layer(model)) is not None
        for field in model._meta.get_fields()
        if field.is_relation and not field.auto_created and field.related_model is not None
        if (other := _layer(field.related_model)) is not None and other > layer
        if field.related_model._meta.label != user
    }
    assert not upwards


def test_runtimes_has_no_relation_to_people():
    relations = {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_app_config("runtimes").get_models()
        for field in model._meta.get_fields()
        if field.is_relation and field.related_model is not None
        and field.related_model._meta.app_label != "runtimes" and not field.auto_created
    }  # fmt: skip
    assert not relations


def _layer(model: type) -> int | None:
    top = model.__module__.split(".")[0]
    return LAYERS.index(top) if top in LAYERS else None


@pytest.mark.django_db
def test_migrations_match_the_models():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_places_and_lifeline_need_nothing_but_the_standard_library():
    for name in ("classroom.places", "classroom.lifeline", "classroom.guard", "runtimes.sandboxes.environment"):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); import {name}"],
            cwd=CHECKOUT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_what_grades_nothing_loads_no_nbgrader():
    """Every process and command pays for what is imported with Django, in seconds of a processor and in memory."""
    look = (
        "import sys, django; django.setup(); import runtimes.management.commands.runtimes; "
        "print([name for name in ('nbgrader', 'sqlalchemy', 'rfc3987_syntax.syntax_helpers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
