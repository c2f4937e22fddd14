"""A real server with a few tenants' databases."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sources.tenant_databases import TenantServer


@contextmanager
def serving(tenants: int) -> Iterator[TenantServer]:
    """A server of its own, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tenantry-tenants-"))
    folder.chmod(0o755)
    with TenantServer(folder, tenants) as server:
        yield server
    while (folder / "postgres" / "pg" / "postmaster.pid").exists():
        time.sleep(0.05)
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def tenant_server() -> Iterator[TenantServer]:
    """Twelve tenants' databases on one server."""
    with serving(12) as server:
        yield server
