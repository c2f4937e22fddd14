"""A tenant context cannot be made or changed by anybody but the mint (DB-6)."""

import dataclasses
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import ContextInvalid, Forbidden
from tenantry.core.ids import TenantId
from tenantry.isolation.context import Actor, ContextMint, TenantContext

MINT = ContextMint(b"m" * 32)
TENANT, OTHER = TenantId(UUID(int=1)), TenantId(UUID(int=2))
MEMBER = Actor("member", UUID(int=3), "analyst")
_texts = st.text(max_size=8)
_fields = st.tuples(
    st.uuids(),
    st.builds(
        Actor,
        st.sampled_from(["member", "operator", "worker"]),
        st.uuids(),
        st.sampled_from(["owner", "viewer"]),
    ),
    st.frozensets(_texts, max_size=4),
    _texts,
    st.floats(allow_nan=False, allow_infinity=False),
)


def context() -> TenantContext:
    return MINT.mint(TENANT, MEMBER, frozenset({"chat", "data:read"}), "req-1", 12.5)


@pytest.mark.req("DB-6")
def test_minted_context_is_accepted() -> None:
    MINT.verify(context())


@pytest.mark.req("DB-6")
@pytest.mark.parametrize(
    "change",
    [
        {"tenant": OTHER},
        {"actor": Actor("member", UUID(int=4), "analyst")},
        {"actor": Actor("member", UUID(int=3), "owner")},
        {"actor": Actor("operator", UUID(int=3), "analyst")},
        {"scopes": frozenset({"chat", "data:read", "keys:write"})},
        {"scopes": frozenset({"chat"})},
        {"scopes": frozenset({"chat,data:read"})},
        {"request_id": "req-2"},
        {"deadline": 1e9},
        {"seal": b""},
        {"seal": b"\0" * 32},
    ],
)
def test_changed_context_is_refused(change: dict[str, object]) -> None:
    changed = dataclasses.replace(context(), **change)  # type: ignore[arg-type]
    with pytest.raises(ContextInvalid):
        MINT.verify(changed)


@pytest.mark.req("DB-6")
def test_context_of_another_process_is_refused() -> None:
    with pytest.raises(ContextInvalid):
        ContextMint(b"n" * 32).verify(context())


@pytest.mark.req("DB-6")
@given(_fields, _fields)
def test_seal_fits_one_context_only(one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    """No content of one field can be moved into its neighbour."""
    first, second = MINT.mint(*one), MINT.mint(*other)
    assert (first.seal == second.seal) == (one == other)


@pytest.mark.req("DB-6")
def test_field_cannot_lend_its_end_to_the_next() -> None:
    one = MINT.mint(TENANT, MEMBER, frozenset({"ab"}), "c", 1.0)
    other = MINT.mint(TENANT, MEMBER, frozenset({"a"}), "bc", 1.0)
    assert one.seal != other.seal


@pytest.mark.req("SEC-3")
def test_scope_that_was_not_granted_is_refused() -> None:
    context().require("chat")
    with pytest.raises(Forbidden, match="keys:write"):
        context().require("keys:write")


def test_only_a_member_is_a_member() -> None:
    assert context().member == UUID(int=3)
    operator = Actor("operator", UUID(int=3), "operator")
    with pytest.raises(Forbidden):
        _ = MINT.mint(TENANT, operator, frozenset(), "r", 0.0).member


def test_seal_and_key_are_never_shown() -> None:
    ctx = context()
    assert ctx.seal.hex() not in repr(ctx)
    assert "seal" not in repr(ctx)
    assert "mmmm" not in repr(MINT) + str(vars(MINT).keys())
    assert str(ctx.actor) == f"member:{UUID(int=3)}"
