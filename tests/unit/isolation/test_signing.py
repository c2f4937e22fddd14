"""Tokens towards the database: HMAC-SHA256, fixed widths, letters and digits only (DB-4)."""

import hashlib
import hmac
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.ids import TenantId
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.isolation.signing import ContextSigner

_MINT = ContextMint(b"m")
_ARGUMENTS = st.tuples(st.uuids(), st.uuids(), st.integers(1, 99999), st.integers(0, 9_999_999_999))


def context(tenant: UUID, actor: UUID) -> TenantContext:
    who = Actor("member", actor, "owner")
    return _MINT.mint(TenantId(tenant), who, frozenset(), "req", 0.0)


@pytest.mark.req("DB-4")
@given(
    st.binary(min_size=1, max_size=100),
    st.uuids(),
    st.uuids(),
    st.integers(1, 2**31 - 1),
    st.integers(0, 9_999_999_999),
)
def test_database_can_recompute_what_was_signed(
    key: bytes, tenant: UUID, actor: UUID, pid: int, expires_at: int
) -> None:
    """H(outer || H(inner || body)) over the stored blocks is HMAC (RFC 2104), for any key."""
    signer = ContextSigner(key, "k7")
    token = signer.token(context(tenant, actor), pid, expires_at)
    body, mac = token[:-64], token[-64:]
    inner, outer = signer.blocks()
    assert len(inner) == len(outer) == 64
    stored = hashlib.sha256(outer + hashlib.sha256(inner + body.encode()).digest()).hexdigest()
    assert mac == stored == hmac.new(key, body.encode(), hashlib.sha256).hexdigest()
    assert body == f"k7{tenant.hex}{actor.hex}{expires_at:010d}g{pid}"


@pytest.mark.req("DB-4")
@given(st.uuids(), st.uuids(), st.integers(1, 2**31 - 1), st.integers(0, 9_999_999_999))
def test_token_can_stand_in_sql_text(tenant: UUID, actor: UUID, pid: int, expires: int) -> None:
    token = ContextSigner(b"key").token(context(tenant, actor), pid, expires)
    assert token.isascii()
    assert token.isalnum()
    assert len(token) > 140  # what current_tenant() takes for a token at all


@pytest.mark.req("DB-4")
@given(_ARGUMENTS, _ARGUMENTS)
def test_no_two_contexts_share_a_token(
    one: tuple[UUID, UUID, int, int], other: tuple[UUID, UUID, int, int]
) -> None:
    signer = ContextSigner(b"key")
    first = signer.token(context(*one[:2]), *one[2:])
    second = signer.token(context(*other[:2]), *other[2:])
    assert (first == second) == (one == other)


@pytest.mark.req("DB-4")
def test_key_is_never_shown() -> None:
    signer = ContextSigner(b"very-secret-key")
    assert "very-secret-key" not in repr(signer)
    assert signer.key_id == "k1"
