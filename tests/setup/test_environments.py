"""Two environments: what a notebook may import is in the kernels', and none of it in the site's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from classroom.places import CHECKOUT
from deploy.local import environment

FOR_NOTEBOOKS = {"ipykernel", "ipywidgets", "numpy", "pandas", "matplotlib", "scikit-learn"}
#: Of these, what the site cannot be without: nbclient's and nbgrader's kernel, and the widgets' front end.
IN_BOTH = {"ipykernel", "ipywidgets"}
IMPORT = "import ipykernel, ipywidgets, numpy, pandas, matplotlib, sklearn"
INSTALLED = "from importlib.metadata import distributions; print(*(one.name for one in distributions()), sep='\\n')"


def locked(name: str) -> set[str]:
    text = (CHECKOUT / "requirements" / f"{name}.txt").read_text()
    return {found.lower() for found in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}


def python(executable: Path, code: str) -> str:
    """What it prints, on its own: nothing of this environment or folder."""
    done = subprocess.run([executable, "-I", "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_locks_keep_what_notebooks_import_out_of_the_site() -> None:
    assert locked("kernel") >= FOR_NOTEBOOKS
    assert locked("site") & FOR_NOTEBOOKS == IN_BOTH


def test_in_the_kernels_environment_all_of_it_can_be_imported_and_nothing_of_the_site_can() -> None:
    kernels = environment.kernels() / "bin" / "python"
    python(kernels, IMPORT)
    for name in ("django", "nbgrader", "celery", "classroom", "runtimes"):
        with pytest.raises(AssertionError, match="No module named"):
            python(kernels, f"import {name}")


@pytest.mark.timeout(900)
def test_the_sites_environment_is_without_it() -> None:
    installed = {line.lower() for line in python(environment.ensure("site"), INSTALLED).splitlines()}
    assert "django" in installed
    assert installed & FOR_NOTEBOOKS == IN_BOTH
