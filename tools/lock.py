"""Writes requirements/*.lock: exact versions with hashes, for what pyproject.toml asks.

`uv` resolves, from a virtual environment that is thrown away. Which index it asks is the machine's
own configuration; none is written into a file.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("core", ()),
    ("dev", ("--extra", "dev")),
    # Goes into the same virtual environment: what both need has the same version.
    ("docs", ("--extra", "docs", "-c", "requirements/dev.lock")),
)


def main() -> int:
    """Resolve and write each file; the first failure's exit status."""
    with tempfile.TemporaryDirectory(prefix="tenantry-lock-") as folder:
        venv.create(folder, with_pip=True)
        programs = Path(folder) / "bin"
        status = _run(str(programs / "python"), "-m", "pip", "install", "-q", "uv")
        for name, options in LOCKS:
            target = f"requirements/{name}.lock"
            resolve = ("pip", "compile", "-q", "pyproject.toml", "--generate-hashes", "--no-header")
            status = status or _run(str(programs / "uv"), *resolve, *options, "-o", target)
    return status


def _run(*command: str) -> int:
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603  # fixed words


if __name__ == "__main__":
    sys.exit(main())
