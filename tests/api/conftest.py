"""A served platform for the tests of the HTTP edge."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service import Service
from tests.worlds import Cluster


@pytest.fixture
async def service(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Service]:
    """The real server on a real socket, with two tenants and their keys; keyless answers."""
    async with Service.create(cluster, tmp_path) as service:
        yield service
