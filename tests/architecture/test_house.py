"""Packages, layers, the map, the requirement table: true, and kept true."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE, ROOT, modules

_ROOM = re.compile(r"^  (?:[a-z]+/ +)*[a-z_]+(?:/|\.py)", re.MULTILINE)


def test_the_core_installs_at_most_45_packages() -> None:
    lock = (ROOT / "requirements" / "core.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^[a-z0-9._-]+==", lock, re.MULTILINE | re.IGNORECASE)
    assert len(pinned) + 1 <= 45  # and Tenantry itself


def test_no_host_of_a_registry_stands_in_a_lock_file() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert "://" not in lock.read_text(encoding="utf-8")


def test_the_map_names_every_room_and_no_other() -> None:
    drawn = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = drawn.partition("src/tenantry/\n")[2].partition("```")[0]
    named = {name.rstrip("/") for line in _ROOM.findall(tree) for name in line.split()}
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert named == rooms | {"platform.py"}


@pytest.mark.parametrize("folder", ["src/tenantry", "tests"])
def test_every_folder_with_python_is_a_package(folder: str) -> None:
    # import-linter does not see a folder without __init__.py.
    for file in (ROOT / folder).rglob("*.py"):
        assert (file.parent / "__init__.py").exists(), file


def test_no_module_of_ours_reads_the_clock_by_itself() -> None:
    allowed = {PACKAGE / "core" / "clock.py"}
    for file, _ in modules():
        text = file.read_text(encoding="utf-8")
        if file not in allowed:
            assert "time.monotonic(" not in text, file
            assert "datetime.now(" not in text, file


def test_the_requirement_table_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/requirements_table.py", "--check"], cwd=ROOT, check=False
    )
    assert done.returncode == 0, "run: python tools/requirements_table.py"


@pytest.mark.req("DB-6")
@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("core/planted.py", "import tenantry.db.secrets\n"),
        ("tools/planted.py", "import tenantry.db.pool\n"),
        ("security/planted.py", "import tenantry.db.pool\n"),
        ("agent/planted.py", "import fastapi\n"),
        ("newroom/__init__.py", ""),
    ],
)
def test_a_planted_violation_breaks_the_layer_contracts(
    tmp_path: Path, room: str, line: str
) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "src" / "tenantry" / room
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(f'"""Planted."""\n{line}')
    lint = str(Path(sys.executable).parent / "lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0, done.stdout
