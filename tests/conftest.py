"""Fixtures for every test: one embedded PostgreSQL a run, one fresh database a test, two tenants.

The workers of a parallel run share the server through its own file lock, as processes of a
deployment do.
"""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.worlds import Cluster, World

_RUN = "PYTEST_TENANTRY_RUN"


def pytest_configure(config: pytest.Config) -> None:
    """Choose the directory that all workers of this run share, reachable for PostgreSQL's user."""
    if not hasattr(config, "workerinput") and _RUN not in os.environ:
        run = Path(tempfile.mkdtemp(prefix="tenantry-tests-"))
        run.chmod(0o755)
        os.environ[_RUN] = str(run)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that directory once the server in it has stopped."""
    if hasattr(config, "workerinput"):
        return
    _remove(Path(os.environ.pop(_RUN)))


def _remove(folder: Path) -> None:
    """Remove a data directory once the server in it has stopped."""
    for _ in range(400):
        if not (folder / "postgres" / "pg" / "postmaster.pid").exists():
            break
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def deployment() -> Iterator[Path]:
    """A data directory of its own for an embedded server, reachable for PostgreSQL's user."""
    folder = Path(tempfile.mkdtemp(prefix="tenantry-deployment-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        _remove(folder)


@pytest.fixture
def deployment_dir() -> Iterator[Path]:
    """Such a directory for one test."""
    with deployment() as folder:
        yield folder


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The embedded server of this run, with a migrated template database."""
    with Cluster(Path(os.environ[_RUN])) as cluster:
        yield cluster


@pytest.fixture
async def world(cluster: Cluster, tmp_path: Path) -> AsyncIterator[World]:
    """A fresh database with two tenants, acme and globex, each with an owner."""
    async with World.create(cluster, tmp_path) as world:
        yield world
