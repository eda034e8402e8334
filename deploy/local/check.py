"""The tests, benches and checks, each in the development environment."""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from classroom.places import CHECKOUT
from deploy.local import environment, host, packages
from deploy.local.errors import SetupError
from deploy.local.services import services

#: What continuous integration, which has an hour, tests on SQLite only: what touches neither database nor broker, or
#: has its own, and what is about a page in a browser, a sandbox or a folder, whose rows other tests read on both.
ONCE = (
    "tests/architecture/test_code.py",
    "tests/architecture/test_docs.py",
    "tests/architecture/test_layers.py",
    "tests/architecture/test_words.py",
    "tests/browser/test_every_page.py",
    "tests/browser/test_machine_moves.py",
    "tests/browser/test_notebook_bar.py",
    "tests/browser/test_other_kernels.py",
    "tests/browser/test_review_is_safe.py",
    "tests/grading/test_attacks.py",
    "tests/grading/test_every_fixture.py",
    "tests/grading/test_formulas.py",
    "tests/grading/test_generate.py",
    "tests/grading/test_healing.py",
    "tests/grading/test_live_attacks.py",
    "tests/grading/test_live_check.py",
    "tests/grading/test_live_other_kernels.py",
    "tests/grading/test_parity.py",
    "tests/grading/test_reconcile.py",
    "tests/grading/test_rendering.py",
    "tests/grading/test_sealed.py",
    "tests/grading/test_stopped.py",
    "tests/grading/test_upstream.py",
    "tests/grading/test_words.py",
    "tests/migrate/test_hostile_folders.py",
    "tests/runtimes/document/test_in_the_browser.py",
    "tests/runtimes/jupyter/test_attacks.py",
    "tests/runtimes/jupyter/test_page.py",
    "tests/runtimes/pods",
    "tests/runtimes/sandbox",
    "tests/runtimes/test_job.py",
    "tests/runtimes/test_other_kernels.py",
    "tests/runtimes/test_provider_contract.py",
    "tests/security/test_live_logs.py",
    "tests/setup/test_benches.py",
    "tests/setup/test_broker.py",
    "tests/setup/test_chart.py",
    "tests/setup/test_demo.py",
    "tests/setup/test_environments.py",
    "tests/setup/test_host.py",
    "tests/setup/test_logs.py",
    "tests/setup/test_supervise.py",
    "tests/setup/test_up.py",
)
#: On SQLite they take half of continuous integration's hour. Where they took longer, as on a slower machine, PostgreSQL
#: and Redis get no test of a running site, a page in a browser or a sandbox, and after `LATE` none at all. What is
#: tested on Kubernetes next takes a quarter of an hour there; where no cluster is coming, there is time until
#: `LATE_ALONE`. Seconds.
SLOW, LATE, LATE_ALONE = 25 * 60, 36 * 60, 48 * 60
ROWS_ALONE = ("-m", "not live and not browser and not sandbox and not kill")
#: Tests of real processes, kernels and browsers wait patiently, but not for ever: on a crowded machine one may meet its
#: limit. Continuous integration runs such a test once more; the summary names each (RERUN), and says what it failed of.
AGAIN = ("--reruns=1", "-rfER", "--rerun-show-tracebacks", "--durations=25", "--durations-min=20")
#: Tests wait for processes more than they compute, so one more runs than there are cores. The tests of a file run
#: in one process, in order: they may share a running site. Files with few tests are the long ones here: not last.
TOGETHER = (f"--numprocesses={(os.cpu_count() or 1) + 1}", "--dist=loadfile", "--no-loadscope-reorder")
#: On a cluster they wait for its nodes, of which a small one is this machine.
ON_NODES = ("--numprocesses=2", *TOGETHER[1:])


def everything(arguments: list[str]) -> int:
    """Every test on SQLite, then on PostgreSQL and Redis."""
    # What nbgrader's command line says of the same submissions does not depend on our database.
    with tempfile.TemporaryDirectory(prefix="nbgrader-") as verdicts:
        os.environ.setdefault("NBGRADER_VERDICTS", verdicts)
        began = time.monotonic()
        status = on_sqlite(arguments)
        status = max(status, on_postgres(arguments, time.monotonic() - began))
        if os.environ.get("KUBECONFIG") and not arguments:
            return max(status, on_cluster([]))
    # Where a cluster is still being made, whoever makes it says what became of it (.ci/run).
    if not os.environ.get("PUPITRE_CLUSTER"):
        print("NOT ON KUBERNETES: no KUBECONFIG is set, so nothing was tested that needs a cluster.", flush=True)
    return status


def on_sqlite(arguments: list[str]) -> int:
    """Every test on the embedded default: SQLite, the file-system broker, local sandboxes."""
    python = _prepared()
    print("Tests on SQLite and the file-system broker", flush=True)
    return _pytest(python, arguments, {"DATABASE_URL": "", "REDIS_URL": ""})


def on_postgres(arguments: list[str], seconds: float = 0.0) -> int:
    """Every test on PostgreSQL and Redis, started here on free ports and stopped at the end; in continuous integration
    without `ONCE`, and without what is slow if the tests on SQLite have taken many `seconds`."""
    hurries = bool(os.environ.get("CI")) and not arguments
    if hurries and seconds > (LATE if os.environ.get("PUPITRE_CLUSTER") else LATE_ALONE):
        print(f"NOT ON POSTGRESQL AND REDIS: the tests on SQLite took {seconds / 60:.0f} minutes.", flush=True)
        return 0
    python = _prepared()
    chosen = ROWS_ALONE if hurries and seconds > SLOW else ()
    with services() as variables:
        print("Tests on PostgreSQL and Redis", flush=True)
        if hurries:
            also = ", and all tests of running sites and sandboxes" if chosen else ""
            print(f"ON SQLITE ONLY, for want of time: {len(ONCE)} files{also} (`make test-postgres`).", flush=True)
        return _pytest(python, arguments, variables, left_out=ONCE if hurries else (), chosen=chosen)


def on_cluster(arguments: list[str]) -> int:
    """What is promised of Kubernetes, on the cluster that KUBECONFIG names: first what matters most."""
    if not os.environ.get("KUBECONFIG"):
        raise SetupError("KUBECONFIG is not set: name a cluster on which the tests may make namespaces.")
    python = _prepared()
    print("Tests on Kubernetes", flush=True)
    found = sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob("tests/**/test_*on_a_cluster.py"))
    # Whole sites take the longest, and so begin (tests/conftest.py); the contract is next.
    chosen = [
        "tests/runtimes/test_provider_contract.py",
        *found,
        "tests/setup/test_chart.py",
        "-k",
        "pods or on_a_cluster or chart",
    ]
    variables = {"DATABASE_URL": "", "REDIS_URL": "", "KUBECONFIG": os.environ["KUBECONFIG"]}
    return _pytest(python, arguments or [*ON_NODES, *chosen], variables)


def lint(arguments: list[str]) -> int:
    """ruff, mypy, import-linter and the migrations check, without the tests."""
    python = environment.ensure("dev")
    tools: list[list[str | Path]] = [
        [python, "-m", "ruff", "check", *arguments, "."],
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "mypy"],
        [python.with_name("lint-imports"), "--cache-dir", ".cache/import_linter"],
        [python, "manage.py", "makemigrations", "--check", "--dry-run"],
    ]
    with _scratch() as variables:
        return max([run(tool, variables) for tool in tools])


def benches(arguments: list[str]) -> int:
    """`python -m bench.NAME` for each bench, or for those named."""
    python = _prepared()
    names = arguments or sorted(
        path.stem if path.is_file() else path.parent.name
        for pattern in ("bench/*.py", "bench/*/__main__.py")
        for path in CHECKOUT.glob(pattern)
        if not path.stem.startswith("_") or path.stem == "__main__"
    )
    with _scratch() as variables:
        variables |= {"KERNEL_ENVIRONMENT": str(environment.kernels())}
        return max([run([python, "-m", f"bench.{name}"], variables) for name in names], default=0)


def run(command: Sequence[str | Path], variables: dict[str, str] | None = None) -> int:
    """The exit status of `command`, run in the clone; Ctrl-C waits for it to clean up."""
    process = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | (variables or {}))
    try:
        return process.wait()
    except KeyboardInterrupt:
        # The terminal has sent it to the command, too: let it clean up, then stop what would come next.
        process.wait()
        raise


def _prepared() -> Path:
    packages.ensure(packages.DEMO | packages.TEST)
    host.check_user_namespaces()
    python = environment.ensure("dev")
    # Else each of the hundreds of processes that tests start would compile the site again.
    run([python, "-m", "compileall", "-q", "classroom", "grading", "runtimes"])
    return python


def _pytest(
    python: Path,
    arguments: list[str],
    variables: dict[str, str],
    left_out: Sequence[str] = (),
    chosen: Sequence[str] = (),
) -> int:
    kernels = {"KERNEL_ENVIRONMENT": str(environment.kernels())}
    again = AGAIN if os.environ.get("CI") else ()
    # Whoever chooses tests gets one process, which a debugger needs; -n says otherwise.
    together = () if arguments else TOGETHER
    ignored = [f"--ignore={path}" for path in left_out]
    with _scratch() as scratch:
        variables = {"KUBECONFIG": "", **scratch, **kernels, **variables}
        return run([python, "-m", "pytest", *together, *again, *ignored, *chosen, *arguments], variables)


class _scratch(tempfile.TemporaryDirectory[str]):  # noqa: N801 - used as a context manager
    """A data folder of its own for one run, so that no run meets another's database or the demo's."""

    def __init__(self) -> None:
        super().__init__(prefix="pupitre-")

    def __enter__(self) -> dict[str, str]:  # type: ignore[override]
        folder = super().__enter__()
        # The uid that student code runs as must be able to reach the sockets and homes below.
        Path(folder).chmod(0o755)
        return {"DATA_DIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
