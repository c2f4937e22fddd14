"""A real server with a few tenants' databases."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.scratch import remove, scratch
from tests.sources.tenant_databases import TenantServer

_FEW = 100  # databases, some megabytes each


@contextmanager
def serving(tenants: int) -> Iterator[TenantServer]:
    """A server of its own, removed afterwards."""
    folder = scratch("tenants", large=tenants > _FEW)
    try:
        with TenantServer(folder, tenants) as server:
            yield server
    finally:
        remove(folder)


@pytest.fixture(scope="package")
def tenant_server() -> Iterator[TenantServer]:
    """Twelve tenants' databases on one server."""
    with serving(12) as server:
        yield server
