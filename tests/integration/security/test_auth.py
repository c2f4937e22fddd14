"""Credentials: the tenant comes from them alone, and they end when they should."""

from datetime import timedelta

import pytest

from tenantry.core.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated
from tenantry.core.ids import MemberId, new_id
from tenantry.isolation.tenants import TenantDirectory
from tenantry.security.auth import Authenticator
from tenantry.security.keys import ApiKey
from tenantry.security.members import KeyRequest, MemberChange, Members, NewKey
from tenantry.security.operators import Operators
from tenantry.security.refused_sign_ins import RefusedSignIns
from tenantry.security.standing import Standing
from tenantry.security.tokens import TokenIssuer
from tests.worlds import World

PEPPER = b"p" * 32


def _standing(world: World) -> Standing:
    return Standing(world.clock, lambda: False)  # nothing is remembered: see test_standing


def _members(world: World) -> Members:
    return Members(world.db, PEPPER, world.audit, _standing(world), world.clock)


def _tokens(world: World) -> TokenIssuer:
    return TokenIssuer(b"t" * 32, world.clock)


def _auth(world: World, pepper: bytes = PEPPER) -> Authenticator:
    refused = RefusedSignIns(world.audit, world.clock)
    return Authenticator(
        world.auth_db, world.mint, _tokens(world), pepper, refused, _standing(world)
    )


async def _key(world: World, *, scopes: tuple[str, ...] | None = None) -> NewKey:
    wanted = KeyRequest("test", world.acme.member, scopes)
    return await _members(world).create_key(world.acme, wanted)


@pytest.mark.req("SEC-6", "DB-6")
async def test_a_key_gives_the_context_of_its_own_tenant_and_member(world: World) -> None:
    new = await _key(world, scopes=("chat",))
    ctx = await _auth(world).context(new.key.reveal(), "r1", 10)
    assert (ctx.tenant, ctx.member) == (world.acme.tenant, world.acme.member)
    assert ctx.scopes == {"chat"}
    assert new.key.secret not in repr(new)
    with pytest.raises(Forbidden):
        ctx.require("members:write")


@pytest.mark.req("SEC-6")
async def test_a_key_is_stored_only_as_a_keyed_hash(world: World) -> None:
    new = await _key(world)
    with world.admin() as admin:
        stored = str(admin.execute("SELECT * FROM tenantry.api_keys").fetchall())
    assert new.key.secret not in stored
    with pytest.raises(Unauthenticated):
        await _auth(world, pepper=b"q" * 32).context(new.key.reveal(), "r1", 10)


@pytest.mark.req("SEC-6", "SEC-4")
async def test_unknown_revoked_and_expired_keys_are_refused_alike_and_audited(world: World) -> None:
    members, auth = _members(world), _auth(world)
    revoked, expired = await _key(world), await _key(world)
    await members.revoke_key(world.acme, revoked.key_id)
    with world.admin() as admin:
        admin.execute(
            "UPDATE tenantry.api_keys SET expires_at = now() - interval '1 s' WHERE key_id = %s",
            [expired.key_id],
        )
    unknown = ApiKey.generate("live")
    messages = set()
    for key in (unknown, revoked.key, expired.key):
        with pytest.raises(Unauthenticated) as refused:
            await auth.context(key.reveal(), "r1", 10)
        messages.add(refused.value.message)
    assert len(messages) == 1
    own = [e["action"] for e in await world.audit_events(world.acme) if e["outcome"] == "refused"]
    assert own == ["key.refused", "key.refused"]
    assert [e["action"] for e in await world.audit.platform_events()] == ["key.unknown"]


@pytest.mark.req("SEC-6")
async def test_a_mistyped_key_is_recognised_without_a_look_up(world: World) -> None:
    text = (await _key(world)).key.reveal()
    wrong = text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]
    assert ApiKey.parse(text) is not None
    assert ApiKey.parse(wrong) is None


@pytest.mark.req("SEC-6")
async def test_rotation_keeps_both_keys_alive_for_the_overlap_only(world: World) -> None:
    members, auth = _members(world), _auth(world)
    old = await _key(world)
    new = await members.rotate_key(world.acme, old.key_id, timedelta(hours=1))
    assert (await auth.context(old.key.reveal(), "r", 10)).tenant == world.acme.tenant
    assert (await auth.context(new.key.reveal(), "r", 10)).tenant == world.acme.tenant
    with world.admin() as admin:
        admin.execute(
            "UPDATE tenantry.api_keys SET revoked_at = now() WHERE key_id = %s", [old.key_id]
        )
    with pytest.raises(Unauthenticated):
        await auth.context(old.key.reveal(), "r", 10)


@pytest.mark.req("SEC-6")
async def test_a_foreign_key_or_member_is_as_unknown_as_one_that_never_was(world: World) -> None:
    members = _members(world)
    key = await _key(world)
    for key_id in (key.key_id, new_id()):
        with pytest.raises(NotFound):
            await members.revoke_key(world.globex, key_id)
    for member in (world.acme.member, MemberId(new_id())):
        with pytest.raises(NotFound):
            await members.create_key(world.globex, KeyRequest("x", member))
    assert (await _auth(world).context(key.key.reveal(), "r", 10)).tenant == world.acme.tenant


@pytest.mark.req("SEC-6")
async def test_nobody_raises_themselves_or_others_above_their_own_role(world: World) -> None:
    members = _members(world)
    admin = world.context(world.acme, "admin")
    with pytest.raises(Forbidden):
        await members.create(admin, "new-owner", "owner")
    with pytest.raises(Forbidden):
        await members.change(admin, admin.member, MemberChange(role="owner"))
    with pytest.raises(Forbidden):
        await members.create_key(admin, KeyRequest("theft", world.acme.member))
    viewer = await members.create(admin, "viewer", "viewer")
    with pytest.raises(Forbidden):
        await members.create_key(
            admin, KeyRequest("wide", MemberId(viewer["member_id"]), ("keys:write",))
        )


@pytest.mark.req("SEC-6")
async def test_a_narrowed_key_makes_no_wider_one(world: World) -> None:
    members = _members(world)
    wide = await _key(world)
    narrow = world.context(world.acme, "owner", frozenset({"keys:write"}), member=world.acme.member)
    made = await members.create_key(narrow, KeyRequest("x", world.acme.member))
    assert made.scopes == {"keys:write"}
    with pytest.raises(Forbidden):
        await members.create_key(narrow, KeyRequest("x", world.acme.member, ("chat",)))
    with pytest.raises(Forbidden):
        await members.rotate_key(narrow, wide.key_id, timedelta(0))


@pytest.mark.req("SEC-6")
async def test_the_last_active_owner_cannot_be_removed(world: World) -> None:
    members = _members(world)
    for change in (MemberChange(role="viewer"), MemberChange(status="disabled")):
        with pytest.raises(Conflict):
            await members.change(world.acme, world.acme.member, change)
    with pytest.raises(Conflict):
        await members.delete(world.acme, world.acme.member)
    assert (await members.get(world.acme, world.acme.member))["role"] == "owner"


@pytest.mark.req("SEC-6")
async def test_a_member_token_works_until_its_member_is_disabled(world: World) -> None:
    analyst = world.context(world.acme, "analyst")
    text, _ = _tokens(world).mint(
        world.acme.tenant, analyst.member, frozenset({"chat", "keys:write"}), 600, new_id()
    )
    ctx = await _auth(world).context(text, "r", 10)
    assert ctx.member == analyst.member
    assert ctx.scopes == {"chat"}  # what the role does not have, a token cannot give
    await _members(world).change(world.acme, analyst.member, MemberChange(status="disabled"))
    with pytest.raises(Unauthenticated):
        await _auth(world).context(text, "r", 10)


@pytest.mark.req("SEC-6")
async def test_forged_and_unsigned_tokens_are_refused(world: World) -> None:
    foreign = TokenIssuer(b"x" * 32, world.clock)
    member = world.acme.member
    forged, _ = foreign.mint(world.acme.tenant, member, frozenset({"chat"}), 60, new_id())
    unsigned = "eyJhbGciOiJub25lIn0." + forged.split(".")[1] + "."
    for text in (forged, unsigned, "", "not-a-token"):
        with pytest.raises(Unauthenticated):
            await _auth(world).context(text, "r", 10)
    with pytest.raises(InvalidRequest):
        foreign.mint(world.acme.tenant, member, frozenset(), 3601, new_id())


@pytest.mark.req("SEC-6", "DB-5")
async def test_operator_keys_are_another_kind_and_never_become_a_tenant(world: World) -> None:
    operators = Operators(world.operator_db, PEPPER, world.audit, world.clock)
    key = await operators.create_key("backend", ["tokens:mint"])
    auth = _auth(world)
    operator = await auth.operator(key.reveal(), "r")
    with pytest.raises(Forbidden):
        operator.require("tenants:write")
    with pytest.raises(Unauthenticated):
        await auth.context(key.reveal(), "r", 10)
    with pytest.raises(Unauthenticated):
        await auth.operator((await _key(world)).key.reveal(), "r")
    (row,) = await operators.list_keys()
    await operators.revoke_key(row["key_id"])
    with pytest.raises(Unauthenticated):
        await auth.operator(key.reveal(), "r")


@pytest.mark.req("DB-5")
async def test_a_suspended_tenant_signs_nobody_in(world: World) -> None:
    directory = TenantDirectory(world.operator_db)
    key = await _key(world)
    await directory.set_status(world.acme.tenant, "suspended")
    with pytest.raises(Unauthenticated):
        await _auth(world).context(key.key.reveal(), "r", 10)
    await directory.set_status(world.acme.tenant, "active")
    assert (await _auth(world).context(key.key.reveal(), "r", 10)).tenant == world.acme.tenant


async def test_a_tenant_name_stands_for_one_tenant(world: World) -> None:
    directory = TenantDirectory(world.operator_db)
    assert (await directory.find("acme")).id == world.acme.tenant
    with pytest.raises(Conflict):
        await directory.create("acme")
    with pytest.raises(InvalidRequest):
        await directory.create("Not A Name")
