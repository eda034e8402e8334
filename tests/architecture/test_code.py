"""The checks that a reader of the code relies on: types, style, sizes, nothing of one machine."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from classroom.places import CHECKOUT

MOST_LINES_A_FILE = 300
MOST_LINES_A_FUNCTION = 45  # 35 is what we aim at
# Attacks name the places of the host that they try to reach.
MEANT = {"tests/runtimes/sandbox/attacks.py"}
# The tables of one app are read side by side.
LONGER = {"grading/models.py", "runtimes/models.py"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "classroom.settings"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return [CHECKOUT / name for name in listed.stdout.splitlines() if (CHECKOUT / name).is_file()]


def product_files() -> list[Path]:
    own = ("classroom/", "grading/", "runtimes/", "deploy/")
    return [
        path for path in tracked("*.py")
        if str(path.relative_to(CHECKOUT)).startswith(own) and "migrations" not in path.parts
    ]  # fmt: skip


@pytest.mark.timeout(600)
def test_types_are_right():
    done = run("mypy", "--no-error-summary")
    assert done.returncode == 0, done.stdout


def test_ruff_finds_nothing():
    done = run("ruff", "check", "--quiet", ".")
    assert done.returncode == 0, done.stdout


def test_everything_is_formatted():
    done = run("ruff", "format", "--check", "--quiet", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_outgrows_its_description():
    long = {
        str(path.relative_to(CHECKOUT)): lines
        for path in product_files()
        if (lines := len(path.read_text().splitlines())) > MOST_LINES_A_FILE
    }
    assert not {name for name in long if name not in LONGER}, long


def test_no_function_outgrows_a_screen():
    long = {
        f"{path.relative_to(CHECKOUT)}:{function.lineno} {function.name}": lines
        for path in product_files()
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MOST_LINES_A_FUNCTION
    }
    assert not long


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_everything_public_says_what_it_is():
    silent = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name}"
        for path in product_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if _is_public(node, path) and ast.get_docstring(node) is None and not _is_drawn_in_a_tree(node)
    ]
    assert not silent


def _is_public(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, path: Path) -> bool:
    if node.name.startswith("_") or node.name in {"Meta", "clean", "save", "State", "Role", "Command"}:
        return False
    top = ast.parse(path.read_text()).body
    return any(node.lineno == member.lineno for member in top if hasattr(member, "name"))


def _is_drawn_in_a_tree(node: ast.AST) -> bool:
    """True for an error class that only says its words: its module's docstring draws the tree."""
    return isinstance(node, ast.ClassDef) and all(isinstance(line, ast.Assign | ast.AnnAssign) for line in node.body)


def test_nothing_of_one_machine_is_in_the_code():
    homes = [f"{folder}/" for folder in (Path.home(), CHECKOUT, CHECKOUT.parent) if folder != Path("/")]
    found = [
        f"{path.relative_to(CHECKOUT)}: {home}"
        for path in tracked()
        if path.suffix not in {".png", ".svg", ".woff2"} and path.stat().st_size < 2_000_000
        for home in homes
        if str(path.relative_to(CHECKOUT)) not in MEANT and home in path.read_text(errors="replace")
    ]
    assert not found


def test_no_address_to_download_from_is_in_the_code():
    address = re.compile(
        r"https?://\S+\.(?:whl|tgz|tar\.gz|zip|crate|deb)\b|--(?:extra-)?index-url|^registry\s*=", re.MULTILINE
    )
    found = [
        str(path.relative_to(CHECKOUT))
        for path in tracked()
        if path.suffix not in {".png", ".svg"}
        and path != Path(__file__)
        and address.search(path.read_text(errors="replace"))
    ]
    assert not found


def test_nothing_is_left_for_later():
    words = ("TO-DO", "FIX-ME", "XX-X", "Not-ImplementedError")
    unfinished = re.compile("|".join(rf"\b{word.replace('-', '')}\b" for word in words))
    found = [
        f"{path.relative_to(CHECKOUT)}:{number}"
        for path in tracked("*.py", "*.html", "*.js", "*.css")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if unfinished.search(line)
    ]
    assert not found
