"""Generated secrets: private, whole, and never shown."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenantry.core.errors import StartupRefused
from tenantry.db.secrets import Secrets


def test_the_file_is_made_once_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secrets.json"
    made = Secrets.read_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Secrets.read_or_create(path) == made
    assert [p.name for p in path.parent.iterdir()] == ["secrets.json"]


def test_processes_that_start_together_agree_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: Secrets.read_or_create(path), range(16)))
    assert all(secrets == made[0] for secrets in made)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    Secrets.read_or_create(path)
    path.chmod(0o640)
    with pytest.raises(StartupRefused, match="chmod 600"):
        Secrets.read(path)


def test_a_missing_or_incomplete_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    with pytest.raises(StartupRefused, match="tenantry migrate"):
        Secrets.read(path)
    path.write_text('{"app_password": "x"}')
    path.chmod(0o600)
    with pytest.raises(StartupRefused, match="not a complete"):
        Secrets.read(path)


def test_no_secret_is_in_the_representation(tmp_path: Path) -> None:
    secrets = Secrets.read_or_create(tmp_path / "secrets.json")
    assert secrets.signing_key not in repr(secrets)
    assert repr(secrets) == "Secrets()"
