"""What the Makefile's targets run, with any Python >= 3.12 and nothing installed."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from classroom.places import CHECKOUT
from deploy.local import check, environment, host, lock, packages
from deploy.local.errors import SetupError
from deploy.local.pictures import pictures


def demo(arguments: list[str]) -> int:
    """The whole site with the demo course; replaced by the supervisor, so that Ctrl-C reaches it."""
    host.check_port(host.port())
    python = prepare_site()
    os.environ["KERNEL_ENVIRONMENT"] = str(environment.kernels())
    _become(python, ["manage.py", "up", "--demo", *arguments])
    return 1


def prepare(arguments: list[str]) -> int:
    """Everything that `demo` installs, without starting anything."""
    print(prepare_site(), environment.kernels(), *arguments, sep="\n")
    return 0


def prepare_site() -> Path:
    """The Python of the site's environment, with the host checked and its packages installed."""
    packages.ensure(packages.DEMO)
    host.check_user_namespaces()
    return environment.ensure("site")


def manage(arguments: list[str]) -> int:
    """`manage.py` with the site's Python, on this clone's data."""
    python = prepare_site()
    os.environ["KERNEL_ENVIRONMENT"] = str(environment.kernels())
    _become(python, ["manage.py", *arguments])
    return 1


def bench(arguments: list[str]) -> int:
    """Every benchmark, one after the other."""
    return check.benches(arguments)


def messages(arguments: list[str]) -> int:
    """Collect translatable strings into locale/; what is translated stays, what is gone goes."""
    packages.ensure({"gettext": "msgfmt"})
    (CHECKOUT / "locale").mkdir(exist_ok=True)
    options = ["--locale=fr", "--no-obsolete", "--add-location=file", "--no-wrap", "--verbosity=0"]
    ignored = [f"--ignore={folder}/*" for folder in ("tests", "bench", "deploy")]
    return check.run([environment.ensure("dev"), "manage.py", "makemessages", *options, *ignored, *arguments])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "manage": manage,
    "prepare": prepare,
    "test": check.everything,
    "test-sqlite": check.on_sqlite,
    "test-postgres": check.on_postgres,
    "test-cluster": check.on_cluster,
    "lint": check.lint,
    "bench": bench,
    "messages": messages,
    "pictures": pictures,
    "lock": lock.compile_all,
}


def _become(python: Path, arguments: list[str]) -> None:
    os.chdir(CHECKOUT)
    sys.stdout.flush()
    os.execv(python, [str(python), *arguments])


def main(arguments: list[str]) -> int:
    """Run one command; a SetupError is one sentence and exit status 1."""
    command = COMMANDS.get(arguments[0]) if arguments else None
    if command is None:
        print(f"Usage: deploy/local/run {' | '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return command(arguments[1:])
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
