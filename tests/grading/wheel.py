"""Every file that nbgrader's own tests work with, out of the installed wheel, and what each is good for here.

A notebook needs no entry: each is made into a release, and each is handed in. A file that is none has an entry, or the
test that walks through the wheel fails: so does a file that comes with a newer nbgrader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import resources
from importlib.resources.abc import Traversable

from tests.grading import corpus

#: Folders below nbgrader/tests with a `files`.
FOLDERS = ("apps", "preprocessors", "ui-tests")
#: No notebooks, but part of what is compared: the test that does it.
USED = {
    "apps/autotests.yml": "test_both_make_the_same_release_of_it_or_refuse_it",
    "apps/data.txt": "test_both_make_the_same_release_of_it_or_refuse_it",
    "apps/jupyter.png": "test_both_make_the_same_release_of_it_or_refuse_it",
    "preprocessors/jupyter.png": "test_both_make_the_same_release_of_it_or_refuse_it",
    "ui-tests/data.txt": "test_both_make_the_same_release_of_it_or_refuse_it",
    "apps/gradebook.db": "test_an_old_gradebook_is_refused_until_nbgrader_has_upgraded_it",
    "apps/notebooks.zip": "test_the_archive_collected_by_nbgrader_is_scored_as_by_nbgrader",
    "apps/timestamp.txt": "test_a_timestamp_is_read_as_by_nbgrader",
}
#: Never compared, and why.
NOT_COMPARED = {
    "apps/__init__.py": "empty; it makes the folder a Python package",
    "apps/myexporter.py": "code that `nbgrader export` loads into itself; here no course's code is loaded anywhere",
    "apps/submission_secret.txt": "names a folder of nbgrader's exchange for feedback; grading reads it nowhere",
    "apps/submission_secret2.txt": "names a folder of nbgrader's exchange for feedback; grading reads it nowhere",
    "ui-tests/nbgrader_config.py": "sets Execute.execute_retries, which nbgrader declares and reads nowhere",
}
#: What a notebook is handed in for: the first pattern that fits. The others are handed in for themselves.
_FAMILIES = (
    ("*/submitted-*", "{folder}/submitted-unchanged.ipynb"),
    ("apps/test-no-metadata*", "apps/test.ipynb"),
    ("apps/test-v*", "apps/test.ipynb"),
    ("apps/test-with-output*", "apps/test.ipynb"),
    ("apps/too-new*", "apps/test.ipynb"),
    ("preprocessors/bad-*", "apps/test.ipynb"),
    ("preprocessors/blank-*", "apps/test.ipynb"),
    ("preprocessors/cell-type-changed*", "preprocessors/no-cell-type.ipynb"),
    ("preprocessors/duplicate-*", "apps/test.ipynb"),
    ("ui-tests/old-schema*", "apps/test.ipynb"),
)
#: Files beside a notebook, by the end of its path.
_BESIDE = {
    "apps/open_relative_file.ipynb": "apps/data.txt",
    "ui-tests/open_relative_file.ipynb": "ui-tests/data.txt",
    "apps/test.ipynb": "apps/jupyter.png",
    "preprocessors/test.ipynb": "preprocessors/jupyter.png",
}
NAME = "p1.ipynb"


def every_file() -> dict[str, bytes]:
    """“apps/test.ipynb” → its bytes, also of files in folders below."""
    tests = resources.files("nbgrader.tests")
    return {
        f"{folder}/{path}": found.read_bytes()
        for folder in FOLDERS
        for path, found in _below(tests.joinpath(folder, "files"))
    }


def _below(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for found in sorted(folder.iterdir(), key=lambda each: each.name):
        # What Python compiled of the modules there is no file of the wheel.
        if found.is_dir() and found.name != "__pycache__":
            yield from _below(found, f"{prefix}{found.name}/")
        elif found.is_file():
            yield f"{prefix}{found.name}", found


def slug(path: str) -> str:
    """A name that nbgrader takes for an assignment."""
    return re.sub(r"\W", "_", path.removesuffix(".ipynb"))


def release_of(path: str) -> str:
    """The notebook for whose release this one is handed in."""
    family = next((release for pattern, release in _FAMILIES if fnmatchcase(path, pattern)), path)
    return family.format(folder=path.split("/", maxsplit=1)[0])


def source_of(path: str, files: dict[str, bytes]) -> corpus.Files:
    """An assignment with this one notebook, and what it needs beside it."""
    beside = _BESIDE.get(path)
    data = {} if beside is None else {beside.split("/")[1]: files[beside]}
    return {NAME: files[path], **data}


def graded_by_test_parity() -> set[bytes]:
    """What is handed in there, byte by byte; its endless loop keeps a pace."""
    made = [files for name in ("ps3", "ps4", "ps5", "ps6") for files in corpus.SUBMITTED[name]({}).values()]
    return {data for files in made for data in files.values()} | {corpus.upstream("infinite-loop-with-output.ipynb")}
