"""Entry point of everything inside a runtime: `python -I run.py ROLE ARGUMENT…`.

Run as a file, so that it works with nothing installed; it makes its own folder importable as the package `agent`.
"""

import importlib
import sys
from pathlib import Path

ROLES = ("zygote", "program", "kernel", "relay", "routes")

if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role not in ROLES:
        sys.exit(f"usage: run.py {'|'.join(ROLES)} ...")
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    importlib.import_module(f"agent.{role}").main(arguments)
