"""A member finds nothing that is for groups it is not in, whatever it runs (VEC-2).

Raw statements run as the tenants' role, in a transaction with a member's own genuine context. Legal
is a group of acme's with one member; a document is for it, another is open to all.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tenantry.core.errors import Conflict, Forbidden, InvalidRequest, NotFound
from tenantry.core.ids import new_id
from tenantry.isolation.context import TenantContext
from tenantry.security.groups import Groups, audience_of
from tenantry.vectors.shelves import Shelves, Thresholds
from tests.integration.vectors.stock import Stock
from tests.isolation import tokens
from tests.worlds import World

SECRET = "the merger is called Nightjar"
TABLES = ("documents", "chunks", "chunk_embeddings", "chunk_vectors", "jobs", "job_inputs")
_CONTENT = {
    "documents": "SELECT title FROM tenantry.documents",
    "chunks": "SELECT content FROM tenantry.chunks",
    "chunk_embeddings": f"SELECT '{SECRET}' FROM tenantry.chunk_embeddings WHERE audience <> 0",
    "chunk_vectors": f"SELECT '{SECRET}' FROM tenantry.chunk_vectors WHERE audience <> 0",
    "jobs": "SELECT arguments::text FROM tenantry.jobs",
    "job_inputs": "SELECT convert_from(content, 'UTF8') FROM tenantry.job_inputs",
}


@dataclass
class Office:
    """A tenant with a group, a document for it, and members in it and outside."""

    world: World
    groups: Groups
    legal: UUID
    lawyer: TenantContext
    clerk: TenantContext
    document: UUID
    audience: int

    @contextlib.contextmanager
    def session(self, who: TenantContext, view: str = "g") -> Iterator[psycopg.Connection[Any]]:
        """Raw SQL of the tenants' role with a member's genuine context; rolled back at its end."""
        secrets = self.world.cluster.secrets
        url = make_conninfo(
            self.world.cluster.url(self.world.database),
            user="tenantry_app",
            password=secrets.app_password,
        )
        with psycopg.connect(url, autocommit=True) as connection:
            body = tokens.body(
                who.tenant, connection.info.backend_pid, actor=who.actor.id, view=view
            )
            token = tokens.sign(self.world.cluster.signer, body)
            connection.execute("BEGIN; SET LOCAL ROLE tenantry_tenant")
            connection.execute("SELECT set_config('tenantry.context', %s, true)", [token])
            yield connection
            connection.execute("ROLLBACK")

    def seen(self, who: TenantContext, table: str, view: str = "g") -> bool:
        """Whether raw SQL sees what the secret document has in a table."""
        with self.session(who, view) as connection:
            rows = connection.execute(_CONTENT[table].encode()).fetchall()
        return SECRET in str(rows)


@pytest.fixture
async def office(world: World) -> Office:
    """Acme's office; every table that holds something of a document holds the secret."""
    groups = Groups(world.db, world.audit)
    lawyer, clerk = world.context(world.acme, "analyst"), world.context(world.acme, "analyst")
    legal = (await groups.create(world.acme, "legal"))["group_id"]
    await groups.add(world.acme, legal, lawyer.actor.id)
    async with world.db.tenant(lawyer) as tx:
        audience = await audience_of(tx, ["legal"])
    stock = Stock(world)
    stock.shelves = Shelves(world.db, world.audit, Thresholds(promote_at=1, demote_below=0))
    await stock.add(stock.acme, 3)
    await stock.promote(stock.acme)
    secret = await stock.add(stock.acme, 2)
    with world.admin() as admin:
        admin.execute("UPDATE tenantry.chunks SET content = %s WHERE document_id = %s",
                      [SECRET, secret])  # fmt: skip
        admin.execute("UPDATE tenantry.documents SET title = %s WHERE document_id = %s",
                      [SECRET, secret])  # fmt: skip
        job = new_id()
        admin.execute(
            "INSERT INTO tenantry.jobs (tenant_id, job_id, pool, kind, key, state, arguments,"
            " actor_kind, actor_id, actor_role, audience) VALUES (%s, %s, 'ingest', 'ingest', 'k',"
            " 'paused', jsonb_build_object('title', %s::text), 'member', %s, 'analyst', %s)",
            [world.acme.tenant, job, SECRET, lawyer.actor.id, audience],
        )
        admin.execute(
            "INSERT INTO tenantry.job_inputs (tenant_id, job_id, content, audience)"
            " VALUES (%s, %s, %s, %s)",
            [world.acme.tenant, job, SECRET.encode(), audience],
        )
    async with world.db.tenant(world.acme, keeping=True) as tx:
        await tx.execute(
            b"UPDATE tenantry.documents SET audience = %(a)s WHERE document_id = %(d)s",
            a=audience,
            d=secret,
        )
    return Office(world, groups, legal, lawyer, clerk, secret, audience)


@pytest.mark.req("VEC-2", "DB-4")
async def test_only_members_of_the_group_see_a_row_of_what_is_restricted(office: Office) -> None:
    for table in TABLES:
        assert office.seen(office.lawyer, table), table
        assert not office.seen(office.clerk, table), table
        # An owner reads it as a keeper of lists, which no statement of its own can become.
        assert not office.seen(office.world.acme, table), table
        assert office.seen(office.world.acme, table, "k"), table
        assert office.seen(office.clerk, table, "e"), table
        for view in ("o", "p", "x", "0"):  # what says nothing of who acts sees what is open
            assert not office.seen(office.lawyer, table, view), (table, view)
    with office.session(office.clerk) as clerk:
        count = clerk.execute("SELECT count(*) FROM tenantry.chunks").fetchone()
    assert count == (3,)


@pytest.mark.req("VEC-2")
async def test_leaving_a_group_holds_from_the_next_statement_on(office: Office) -> None:
    with office.session(office.lawyer) as open_before:
        query = b"SELECT count(*) FROM tenantry.chunks WHERE audience <> 0"
        assert open_before.execute(query).fetchone() == (2,)
        await office.groups.remove(office.world.acme, office.legal, office.lawyer.actor.id)
        assert open_before.execute(query).fetchone() == (0,)
    await office.groups.add(office.world.acme, office.legal, office.clerk.actor.id)
    assert office.seen(office.clerk, "chunks")


WIDENINGS = {
    "join-the-group": "INSERT INTO tenantry.group_members (tenant_id, group_id, member_id)"
    " VALUES (%(tenant)s, %(legal)s, %(self)s)",
    "make-a-group": "INSERT INTO tenantry.groups (tenant_id, group_id, name)"
    " VALUES (%(tenant)s, %(fresh)s, 'mine')",
    "take-a-colleagues-place": "UPDATE tenantry.group_members SET member_id = %(self)s",
    "open-the-document": "UPDATE tenantry.documents SET audience = 0",
    "open-its-passages": "UPDATE tenantry.chunks SET audience = 0",
    "open-its-embeddings": "UPDATE tenantry.chunk_embeddings SET audience = 0",
    "open-its-vectors": "UPDATE tenantry.chunk_vectors SET audience = 0",
    "remake-the-audience": "UPDATE tenantry.audiences SET groups = ARRAY[%(fresh)s::uuid]",
    "make-an-audience": "INSERT INTO tenantry.audiences (tenant_id, audience, groups)"
    " VALUES (%(tenant)s, 77, ARRAY[%(legal)s::uuid])",
    "ask-for-the-audience": "SELECT tenantry.audience_of(ARRAY[%(legal)s::uuid])",
    "sweep-audiences": "SELECT tenantry.sweep_audiences(%(legal)s::uuid)",
    "become-an-owner": "UPDATE tenantry.members SET role = 'owner' WHERE member_id = %(self)s",
    "make-an-owner": "INSERT INTO tenantry.members (tenant_id, member_id, external_id, role)"
    " VALUES (%(tenant)s, %(fresh)s, 'x', 'owner')",
    "give-a-key-to-another": "UPDATE tenantry.api_keys SET member_id = %(lawyer)s",
    "make-a-key": "INSERT INTO tenantry.api_keys"
    " (tenant_id, key_id, member_id, public_id, digest, name, scopes)"
    " VALUES (%(tenant)s, %(fresh)s, %(lawyer)s, 'aaaaaaaa', sha256('x'), 'k', '{}')",
    "write-into-it": "INSERT INTO tenantry.chunks (tenant_id, document_id, chunk_no, content,"
    " start_offset, end_offset, audience)"
    " VALUES (%(tenant)s, %(document)s, 9, 'x', 0, 1, %(audience)s)",
    "write-beside-it": "INSERT INTO tenantry.chunks (tenant_id, document_id, chunk_no, content,"
    " start_offset, end_offset) VALUES (%(tenant)s, %(document)s, 9, 'x', 0, 1)",
    "hide-something-there": "INSERT INTO tenantry.documents (tenant_id, document_id, title,"
    " media_type, sha256, size_bytes, chunk_count, created_by, audience)"
    " VALUES (%(tenant)s, %(fresh)s, 't', 't/t', sha256('x'), 1, 1, %(self)s, %(audience)s)",
    "claim-to-keep": "SELECT set_config('tenantry.context', overlay(current_setting("
    "'tenantry.context') placing 'k' from 77), true), count(*) FROM tenantry.chunks",
    "claim-to-be-the-lawyer": "SELECT set_config('tenantry.context', replace(current_setting("
    "'tenantry.context'), %(self_hex)s, %(lawyer_hex)s), true)",
}


@pytest.mark.req("VEC-2", "DB-4")
async def test_member_cannot_widen_what_it_sees(office: Office) -> None:
    """Each attempt is refused or touches nothing, and whatever came of it, nothing more is seen."""
    known = {
        "tenant": office.clerk.tenant, "legal": office.legal, "self": office.clerk.actor.id,
        "lawyer": office.lawyer.actor.id, "self_hex": office.clerk.actor.id.hex,
        "lawyer_hex": office.lawyer.actor.id.hex, "document": office.document,
        "audience": office.audience,
    }  # fmt: skip
    for name, statement in WIDENINGS.items():
        with office.session(office.clerk) as clerk:
            clerk.execute("SAVEPOINT before")
            try:
                done = clerk.execute(statement.encode(), {**known, "fresh": new_id()})
                changed = done.rowcount if done.description is None else 0
            except psycopg.Error:
                clerk.execute("ROLLBACK TO SAVEPOINT before")
                changed = 0
            assert changed <= 0, name
            try:
                rows = clerk.execute("SELECT content FROM tenantry.chunks").fetchall()
            except psycopg.Error as error:
                assert error.sqlstate == "TC002", name  # noqa: PT017
                rows = []
            assert SECRET not in str(rows), name
            with contextlib.suppress(psycopg.Error):
                deleted = clerk.execute(
                    "DELETE FROM tenantry.documents WHERE document_id = %s", [office.document]
                )
                assert deleted.rowcount == 0, name


GUARDS = {
    "readers-of-documents": ("DROP POLICY readers ON tenantry.documents", "documents"),
    "readers-of-chunks": ("DROP POLICY readers ON tenantry.chunks", "chunks"),
    "readers-of-embeddings": (
        "DROP POLICY readers ON tenantry.chunk_embeddings",
        "chunk_embeddings",
    ),
    "readers-of-vectors": ("DROP POLICY readers ON tenantry.chunk_vectors", "chunk_vectors"),
    "readers-of-jobs": ("DROP POLICY readers ON tenantry.jobs", "jobs"),
    "readers-of-inputs": ("DROP POLICY readers ON tenantry.job_inputs", "job_inputs"),
    "own-memberships": ("DROP POLICY own ON tenantry.group_members", "chunks"),
    "own-audiences": ("DROP POLICY own ON tenantry.audiences", "chunks"),
}


@pytest.mark.req("VEC-2")
async def test_each_guard_removed_by_hand_is_seen(office: Office) -> None:
    """The control of the tests above: they fail for want of each of these."""
    for name, (removal, table) in GUARDS.items():
        with office.world.admin() as admin:
            admin.execute("BEGIN")
            admin.execute(removal.encode())
            token = tokens.sign(
                office.world.cluster.signer,
                tokens.body(
                    office.clerk.tenant, admin.info.backend_pid, actor=office.clerk.actor.id
                ),
            )
            admin.execute("SET LOCAL ROLE tenantry_tenant")
            admin.execute("SELECT set_config('tenantry.context', %s, true)", [token])
            rows = admin.execute(_CONTENT[table].encode()).fetchall()
            admin.execute("ROLLBACK")
        assert SECRET in str(rows), name


@pytest.mark.req("VEC-2", "SEC-6")
async def test_groups_are_kept_by_owners_and_admins_alone(office: Office) -> None:
    world, groups = office.world, office.groups
    for refused in (
        groups.create(office.lawyer, "mine"),
        groups.add(office.clerk, office.legal, office.clerk.actor.id),
        groups.remove(office.clerk, office.legal, office.lawyer.actor.id),
        groups.delete(office.lawyer, office.legal),
        groups.list_members(office.lawyer, office.legal, UUID(int=0), 10),
    ):
        with pytest.raises(Forbidden):
            await refused
    with pytest.raises(NotFound):
        await groups.add(world.globex, office.legal, world.globex.actor.id)
    with pytest.raises(NotFound):
        await groups.add(world.acme, office.legal, world.globex.actor.id)
    with pytest.raises(Conflict):  # a document is for it
        await groups.delete(world.acme, office.legal)
    async with world.db.tenant(office.clerk) as tx:
        with pytest.raises(InvalidRequest):
            await audience_of(tx, ["legal"])
    spare = (await groups.create(world.acme, "spare"))["group_id"]
    async with world.db.tenant(world.acme, keeping=True) as tx:
        both = await audience_of(tx, ["spare", "legal"])
        assert await audience_of(tx, ["legal", "spare", "legal"]) == both != office.audience
    await groups.delete(world.acme, spare)
    events = [event["action"] for event in await world.audit_events(world.acme)]
    assert [action for action in events if action.startswith("group.")] == [
        "group.created", "group.member_added", "group.created", "group.deleted"
    ]  # fmt: skip
