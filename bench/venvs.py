"""Other products, each in a virtual environment of its own, made when it is first asked for."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path


def python_with(*packages: str) -> Path | None:
    """An interpreter that has these packages; None, said on stderr, where they do not install.

    Kept in the user's cache folder, so that only the first run takes the minutes.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenantry-bench"
    name = hashlib.sha256(repr((sys.version_info[:2], sorted(packages))).encode()).hexdigest()[:16]
    folder = cache / name
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.exists():
        return python
    print(f"installing {', '.join(packages)} …", file=sys.stderr, flush=True)
    venv.EnvBuilder(with_pip=True, clear=True).create(folder)
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"{', '.join(packages)} do not install: {last}", file=sys.stderr)
        return None
    ready.touch()
    return python
