"""Every check but the tests, each a named step with its time and how to mend it.

`python tools/check.py [STEP …]` runs the named steps only. Standard library.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTHON_FILES = ("src", "tests", "bench", "tools")
GATES = (
    "line_max=400",
    "line_p90=300",
    "fn_over_60=0",
    "cycles=0",
    "cycle_largest_with_lazy=0",
    "doc_pct=100",
    "typed_pct=100",
    "global_statements=0",
    "tests_ratio=1.2",
)
STEPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "format",
        ("ruff", "format", "--check", *PYTHON_FILES),
        ".venv/bin/ruff format src tests bench tools",
    ),
    ("lint", ("ruff", "check", *PYTHON_FILES), ".venv/bin/ruff check --fix, or mend by hand"),
    ("types", ("mypy",), "mend by hand; a suppression needs its code and a reason"),
    ("layers", ("lint-imports",), "import downwards only: see ARCHITECTURE.md"),
    (
        "style",
        (
            "python",
            "tools/style_metrics.py",
            "src/tenantry",
            "--tests",
            "tests",
            *(part for gate in GATES for part in ("--gate", gate)),
        ),
        "split by concept; see CONTRIBUTING.md",
    ),
    (
        "requirements",
        ("python", "tools/requirements_table.py", "--check"),
        ".venv/bin/python tools/requirements_table.py",
    ),
    (
        "openapi",
        ("python", "tools/openapi.py", "--check"),
        ".venv/bin/python tools/openapi.py",
    ),
)


def main(chosen: list[str]) -> int:
    """Run every step, or the chosen ones; 1 if any failed, 2 if there is no such step."""
    known = [name for name, _, _ in STEPS]
    if unknown := [name for name in chosen if name not in known]:
        print(f"no such step: {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    wanted = [step for step in STEPS if not chosen or step[0] in chosen]
    failed = [step for step in wanted if not _passes(*step)]
    print(f"{len(wanted) - len(failed)} of {len(wanted)} checks passed")
    return 1 if failed else 0


def _passes(name: str, command: tuple[str, ...], mend: str) -> bool:
    started = time.monotonic()
    done = subprocess.run(  # noqa: S603  # our own tools, no shell
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - started
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name:<13}{took:6.1f} s", flush=True)
    if done.returncode != 0:
        print(f"{done.stdout}{done.stderr}\n  to mend: {mend}\n", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
