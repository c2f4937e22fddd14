"""The contracts of import-linter: that they hold, and that each one notices what it forbids."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

_STACK = "Rooms are stacked"
_POOL = "Only isolation and the composition root hold connections"
_WEB = "The web framework stays at the edge"
_CIRCLES = "Siblings do not import each other in circles"
_ADAPTERS = "Adapters of model providers"
_CLIENT = "drive the platform only as a client would"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that may be spoilt."""
    folder = tmp_path_factory.mktemp("copy")
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_every_contract_holds(copy: Path) -> None:
    status, said = _lint(copy)
    assert status == 0, said


@pytest.mark.req("DB-6")
@pytest.mark.parametrize(
    ("contract", "planted"),
    [
        (_STACK, {"core/planted.py": "import tenantry.db.secrets\n"}),
        (_STACK, {"security/planted.py": "import tenantry.platform\n"}),
        (_STACK, {"knowledge/planted.py": "import tenantry.connectors.base\n"}),
        (_STACK, {"agent/planted.py": "import tenantry.gateway.frames\n"}),
        (_STACK, {"later/__init__.py": ""}),
        (_POOL, {"tools/planted.py": "import tenantry.db.pool\n"}),
        (_POOL, {"security/planted.py": "import tenantry.db.pool\n"}),
        (_WEB, {"agent/planted.py": "import fastapi\n"}),
        (_WEB, {"security/planted.py": "import starlette.requests\n"}),
        (
            _CIRCLES,
            {
                "core/one.py": "import tenantry.core.two\n",
                "core/two.py": "import tenantry.core.one\n",
            },
        ),
        (_ADAPTERS, {"providers/google.py": "\nimport tenantry.providers.anthropic\n"}),
        (_CLIENT, {"demo/planted.py": "import tenantry.platform\n"}),
        (_CLIENT, {"cli/content.py": "\nimport tenantry.isolation.transaction\n"}),
    ],
)
def test_a_planted_violation_breaks_its_contract(
    copy: Path, contract: str, planted: Mapping[str, str]
) -> None:
    package = copy / "src" / "tenantry"
    before = {package / name: _read(package / name) for name in planted}
    try:
        for name, text in planted.items():
            (package / name).parent.mkdir(exist_ok=True)
            (package / name).write_text((before[package / name] or "") + text, encoding="utf-8")
        status, said = _lint(copy)
    finally:
        for file, text_before in before.items():
            _restore(file, text_before)
    assert status != 0
    broken = [line for line in said.splitlines() if line.endswith(" BROKEN")]
    assert any(contract in line for line in broken), said


def _read(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


def _restore(file: Path, text: str | None) -> None:
    if text is not None:
        file.write_text(text, encoding="utf-8")
        return
    file.unlink()
    if file.name == "__init__.py":
        file.parent.rmdir()
