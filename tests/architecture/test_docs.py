"""What an administrator must know is written down."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from classroom.places import CHECKOUT
from deploy.local.pictures import IMAGES, PICTURES

DOCS = CHECKOUT / "docs"
DOCUMENTED = re.compile(r"`([A-Z][A-Z0-9_]+)`")
READ = re.compile(r"""(?:env\.\w+|environ\.get|environ)[(\[]\s*["']([A-Z][A-Z0-9_]+)["']""")
# Set by others, not for us: who starts a service, or where a user keeps data.
NOT_OURS = {"XDG_DATA_HOME", "DJANGO_SETTINGS_MODULE", "PATH", "HOME", "LISTEN_FDS"}
# Words in the table that are values.
VALUES = {"DEBUG", "INFO", "WARNING", "ERROR"}


def variables_read() -> dict[str, str]:
    """Each environment variable that the product reads, and a file that reads it."""
    found: dict[str, str] = {}
    for folder in ("classroom", "grading", "runtimes"):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            if "agent" in path.parts:
                continue  # runs inside a runtime, whose environment the provider makes
            for name in READ.findall(path.read_text()):
                found.setdefault(name, str(path.relative_to(CHECKOUT)))
    return {name: path for name, path in found.items() if name not in NOT_OURS}


def documented() -> set[str]:
    text = (CHECKOUT / "docs" / "settings.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in DOCUMENTED.findall(row.split("|")[1])} - VALUES


def test_every_setting_is_documented():
    undocumented = {name: path for name, path in variables_read().items() if name not in documented()}
    assert not undocumented


def test_no_setting_is_documented_that_nothing_reads():
    assert documented() <= variables_read().keys()


def test_every_direct_dependency_has_its_reason():
    text = (CHECKOUT / "docs" / "dependencies.md").read_text()
    for source in sorted((CHECKOUT / "requirements").glob("*.in")):
        for line in source.read_text().splitlines():
            name = re.match(r"[\w-]+", line)
            if name and not line.startswith(("-", "#")):
                assert re.search(rf"^\| `{name[0]}` \| \S+", text, re.MULTILINE), f"{name[0]} ({source.name})"


def test_every_value_of_the_chart_that_is_named_exists():
    values = yaml.safe_load((CHECKOUT / "deploy" / "helm" / "pupitre" / "values.yaml").read_text())
    paths = [
        path.split(".")
        for page in ("operate.md", "administrator.md")
        for path in re.findall(r"`([a-z]+(?:\.[a-zA-Z]+)+)(?::[^`]*)?`", (DOCS / page).read_text())
    ]
    named = [path for path in paths if path[0] in values]
    assert named
    assert [".".join(path) for path in named if not is_in(values, path)] == []


def is_in(values: Any, path: list[str]) -> bool:
    return not path or (isinstance(values, dict) and path[0] in values and is_in(values[path[0]], path[1:]))


def test_every_link_of_the_documentation_leads_somewhere():
    link = re.compile(r"\]\((?!\w+:)([^)#]+)(?:#[^)]*)?\)")
    dead = [
        f"{page.relative_to(CHECKOUT)}: {target}"
        for page in (CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *(CHECKOUT / "docs").rglob("*.md"))
        for target in link.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not dead


def test_every_command_that_is_written_down_exists():
    pages = [CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")]
    written = {
        name
        for page in pages
        for name in re.findall(r"(?:^|`|\$\()(?:\w+=\S+ )?make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    makefile = (CHECKOUT / "Makefile").read_text()
    offered = {name for line in re.findall(r"^([a-z -]+):(?!=)", makefile, re.MULTILINE) for name in line.split()}
    assert {"demo", "test"} <= written <= offered


def test_every_picture_is_one_that_the_browser_tests_take():
    assert {path.stem for path in IMAGES.glob("*.png")} == set(PICTURES)


@pytest.mark.parametrize("guide", ["teacher", "student", "assistant", "administrator"])
def test_every_guide_shows_what_it_speaks_of(guide: str):
    shown = set(re.findall(r"\]\(images/([\w-]+)\.png\)", (DOCS / f"{guide}.md").read_text()))
    assert shown
    assert shown <= set(PICTURES)
