"""Fixtures for every test: one embedded PostgreSQL a run, one fresh database a test, two tenants.

The workers of a parallel run share the server through its own file lock, as processes of a
deployment do.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scratch import remove, scratch
from tests.worlds import Cluster, World

_RUN = "PYTEST_TENANTRY_RUN"


def pytest_configure(config: pytest.Config) -> None:
    """Choose the directory that all workers of this run share, reachable for PostgreSQL's user."""
    if not hasattr(config, "workerinput") and _RUN not in os.environ:
        os.environ[_RUN] = str(scratch("tests"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that directory once the server in it has stopped."""
    if hasattr(config, "workerinput"):
        return
    remove(Path(os.environ.pop(_RUN)))


@contextmanager
def deployment() -> Iterator[Path]:
    """A data directory of its own for an embedded server, reachable for PostgreSQL's user."""
    folder = scratch("deployment")
    try:
        yield folder
    finally:
        remove(folder)


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
