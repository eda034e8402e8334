"""What the images' builds run of this code can be run where they run it: the builds themselves need a cluster."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from classroom.places import CHECKOUT

SITE = (CHECKOUT / "deploy" / "images" / "site" / "Containerfile").read_text()


def test_the_sites_image_compiles_its_translations_without_settings(tmp_path: Path) -> None:
    [program] = re.findall(r'python -c "([^"]+)"', SITE)
    for source in (CHECKOUT / "locale").glob("*/LC_MESSAGES/*.po"):
        copy = tmp_path / source.relative_to(CHECKOUT)
        copy.parent.mkdir(parents=True)
        shutil.copy(source, copy)
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.mo"))
    assert made
    assert sorted(run.stdout.split()) == [str(path) for path in made]
