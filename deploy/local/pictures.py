"""The pictures of the documentation: screenshots that the browser tests take of the running site."""

import os
import shutil
import tempfile
from pathlib import Path

from classroom.places import CHECKOUT
from deploy.local import check

IMAGES = CHECKOUT / "docs" / "images"
TAKEN_BY = (
    "tests/browser/test_whole_flow.py",
    "tests/browser/test_every_page.py::test_every_page_is_for_everyone[root]",
)
#: What a picture is called in docs/images, and which screenshot it is.
PICTURES = {
    "assignment-checked": "assignment-checked-wide-light-en",
    "feedback": "feedback-wide-light-en",
    "gradebook": "gradebook-wide-light-en",
    "notebook": "notebook-wide-light-en",
    "operate": "operate-wide-light-en",
    "people-preview": "people-preview",
    "receipt-dialog": "receipt-dialog",
    "review": "review-wide-light-en",
    "submissions": "submissions-wide-light-en",
}


def pictures(arguments: list[str]) -> int:
    """Takes them again, all or none. Exit status of the tests that take them."""
    with tempfile.TemporaryDirectory(prefix="pupitre-shots-") as folder:
        os.environ["PUPITRE_SHOTS"] = folder
        status = check.on_sqlite([*TAKEN_BY, *arguments])
        if status == 0:
            for name, screenshot in PICTURES.items():
                shutil.copyfile(Path(folder) / f"{screenshot}.png", IMAGES / f"{name}.png")
    return status
