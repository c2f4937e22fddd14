"""Fixtures for every test: one embedded PostgreSQL a run, one fresh database a test, two tenants.

The workers of a parallel run share the server through its own file lock, as processes of a
deployment do.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.worlds import Cluster, World


@pytest.fixture(scope="session")
def run_dir() -> Iterator[Path]:
    """A directory that all workers of this run share, reachable for PostgreSQL's user."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"solo-{os.getpid()}")
    path = Path(tempfile.gettempdir()) / f"tenantry-tests-{run}"
    path.mkdir(mode=0o755, exist_ok=True)
    yield path
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(run_dir: Path) -> Iterator[Cluster]:
    """The embedded server of this run, with a migrated template database."""
    with Cluster(run_dir) as cluster:
        yield cluster


@pytest.fixture
async def world(cluster: Cluster, tmp_path: Path) -> AsyncIterator[World]:
    """A fresh database with two tenants, acme and globex, each with an owner."""
    async with World.create(cluster, tmp_path) as world:
        yield world
