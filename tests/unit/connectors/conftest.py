"""A tenant, and the process that runs its queries, without a database."""

import pytest

from tenantry.core.ids import TenantId, new_id
from tenantry.isolation.context import Actor, ContextMint, TenantContext


@pytest.fixture
def ctx() -> TenantContext:
    """A context of a tenant of its own."""
    actor = Actor("member", new_id(), "owner")
    return ContextMint(b"k" * 32).mint(TenantId(new_id()), actor, frozenset(), "req", 1e9)


@pytest.fixture
def neighbour() -> TenantContext:
    """A context of another tenant."""
    actor = Actor("member", new_id(), "owner")
    return ContextMint(b"k" * 32).mint(TenantId(new_id()), actor, frozenset(), "req", 1e9)
