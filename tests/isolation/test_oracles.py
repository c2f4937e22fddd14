"""Questions about the neighbour that must all get the answer of a thing that does not exist.

Unique keys, foreign keys, statistics and locks look past row-level security: each is asked twice,
once about something globex has and once about something nobody has.
"""

import re
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tenantry.core.ids import new_id
from tests.isolation.arena import Arena, build
from tests.isolation.test_sql_attacks import as_acme
from tests.worlds import Cluster

_MEMBER = (
    "INSERT INTO tenantry.members (tenant_id, member_id, external_id, role)"
    " VALUES (%(tenant)s, %(id)s, %(name)s, 'viewer')"
)
QUESTIONS = {
    "foreign-key-of-a-message": "INSERT INTO tenantry.messages (tenant_id, conversation_id,"
    " message_no, role, content) VALUES (%(acme)s, %(id)s, 1, 'user', 'x')",
    "foreign-key-of-an-api-key": "INSERT INTO tenantry.api_keys (tenant_id, key_id, member_id,"
    " public_id, digest, name, scopes) VALUES (%(acme)s, %(id)s, %(id)s, 'AAAAAAAA',"
    " sha256('x'), 'x', '{}')",
    "foreign-key-by-update": "UPDATE tenantry.conversations SET assistant_id = %(id)s",
    "primary-key-of-the-neighbour": _MEMBER.replace("%(tenant)s", "%(globex)s"),
    "unique-key-of-the-neighbour": "INSERT INTO tenantry.members (tenant_id, member_id,"
    " external_id, role) VALUES (%(globex)s, gen_random_uuid(), %(name)s, 'viewer')",
    "upsert-on-the-neighbours-key": _MEMBER.replace("%(tenant)s", "%(globex)s")
    + " ON CONFLICT (tenant_id, external_id) DO UPDATE SET role = 'owner' RETURNING *",
    "own-key-with-the-neighbours-id": _MEMBER.replace("%(tenant)s", "%(acme)s"),
    "own-document-with-the-neighbours-bytes": "INSERT INTO tenantry.documents (tenant_id,"
    " document_id, title, media_type, sha256, size_bytes, chunk_count, created_by)"
    " VALUES (%(acme)s, %(id)s, 'x', 'text/plain', sha256(convert_to(%(name)s, 'UTF8')), 1, 1,"
    " %(id)s)",
    "own-key-with-the-neighbours-public-id": "INSERT INTO tenantry.api_keys (tenant_id, key_id,"
    " member_id, public_id, digest, name, scopes) SELECT %(acme)s, %(id)s, member_id,"
    " left(md5(%(name)s), 8), sha256('x'), 'x', '{}' FROM tenantry.members LIMIT 1",
    "select-by-id": "SELECT * FROM tenantry.conversations WHERE conversation_id = %(id)s",
    "lock-by-id": "SELECT * FROM tenantry.conversations WHERE conversation_id = %(id)s"
    " FOR UPDATE NOWAIT",
    "update-by-id": "UPDATE tenantry.conversations SET title = 'x' WHERE conversation_id = %(id)s",
    "delete-by-id": "DELETE FROM tenantry.documents WHERE document_id = %(id)s RETURNING *",
    "tenant-by-name": "SELECT * FROM tenantry.tenants WHERE name = %(name)s",
}


@pytest.fixture(scope="module")
def arena(cluster: Cluster, database: str) -> Arena:
    return build(cluster, database)


def ask(arena: Arena, question: str, thing: UUID, name: str) -> tuple[Any, ...]:
    """The whole answer, with the asked-about names taken out; the question is rolled back."""
    parameters = {
        "acme": arena.acme.tenant, "globex": arena.globex.tenant, "id": thing, "name": name,
    }  # fmt: skip
    with as_acme(arena, "k") as acme:
        acme.execute("BEGIN")
        try:
            cursor = acme.execute(question.encode(), parameters)
        except psycopg.Error as error:
            diag = error.diag
            told = f"{diag.message_primary} {diag.message_detail} {diag.constraint_name}"
            return error.sqlstate, re.sub(f"{thing}|{re.escape(name)}", "?", told)
        rows = cursor.fetchall() if cursor.description else []
        acme.execute("ROLLBACK")
        return cursor.statusmessage, rows


@pytest.mark.req("SEC-4", "DB-3")
@pytest.mark.parametrize("question", QUESTIONS)
def test_neighbours_thing_answers_as_one_that_does_not_exist(arena: Arena, question: str) -> None:
    theirs = ask(arena, QUESTIONS[question], arena.globex.row_id, arena.globex.canaries["members"])
    nobodys = ask(arena, QUESTIONS[question], new_id(), "tcn_nobody_members_0000000000000000")
    assert theirs == nobodys


@pytest.mark.req("SEC-4")
def test_control_own_thing_answers_otherwise(arena: Arena) -> None:
    """Else the questions would tell nothing apart."""
    own = (arena.acme.row_id, arena.acme.canaries["members"])
    differing = [
        name
        for name, question in QUESTIONS.items()
        if ask(arena, question, *own) != ask(arena, question, new_id(), "nobody")
    ]
    assert len(differing) >= 8


@pytest.mark.req("SEC-4")
def test_lock_held_by_the_neighbour_is_not_felt(arena: Arena) -> None:
    with arena.admin() as admin:
        admin.execute("BEGIN")
        admin.execute(
            "SELECT * FROM tenantry.conversations WHERE tenant_id = %s FOR UPDATE",
            [arena.globex.tenant],
        )
        answer = ask(arena, QUESTIONS["lock-by-id"], arena.globex.row_id, "x")
        admin.execute("ROLLBACK")
    assert answer == ("SELECT 0", [])


@pytest.mark.req("SEC-4")
def test_row_estimates_do_not_tell_what_the_neighbour_wrote_often(arena: Arena) -> None:
    """ANALYZE samples everybody; a guess must be estimated like a value nobody ever wrote."""
    side, secret = arena.globex, "the merger with Initech"
    with arena.admin() as admin:
        admin.execute(
            "INSERT INTO tenantry.messages (tenant_id, conversation_id, message_no, role, content)"
            " SELECT %s, %s, n, 'user', %s FROM generate_series(2, 2000) AS n",
            [side.tenant, side.row_id, secret],
        )
        admin.execute("ANALYZE tenantry.messages")
    with as_acme(arena) as acme:

        def estimate(guess: str) -> list[str]:
            query = "EXPLAIN SELECT * FROM tenantry.messages WHERE content = %s"
            plan = acme.execute(query.encode(), [guess]).fetchall()
            return re.findall(r"(?:cost|rows|width)=[\d.]+", str(plan))

        assert len(estimate(secret)) >= 3
        assert estimate(secret) == estimate("the merger with Umbrella")


@pytest.mark.req("SEC-4")
def test_no_text_of_tenants_is_sampled(arena: Arena) -> None:
    """A column added tomorrow is covered: migrating sets it, or this names it."""
    with arena.admin() as admin:
        sampled = admin.execute(
            "SELECT c.relname || '.' || a.attname FROM pg_class AS c JOIN pg_attribute AS a"
            " ON a.attrelid = c.oid WHERE c.relnamespace = 'tenantry'::regnamespace"
            " AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
            " AND a.atttypid IN ('text'::regtype, 'bytea'::regtype, 'jsonb'::regtype)"
            " AND coalesce(a.attstattarget, -1) <> 0 AND EXISTS (SELECT FROM pg_attribute AS t"
            " WHERE t.attrelid = c.oid AND t.attname = 'tenant_id') ORDER BY 1"
        ).fetchall()
    # Each is one of a few fixed words, by a CHECK.
    assert {row[0] for row in sampled} == {
        "approvals.state", "audit_events.outcome", "budgets.period", "budgets.scope",
        "budgets.set_by", "budgets.unit", "jobs.actor_kind", "jobs.pool", "jobs.state",
        "members.role", "members.status", "messages.role", "messages.status",
        "provider_accounts.kind", "provider_accounts.max_tokens_field", "tenants.status",
        "tool_calls.outcome", "usage_events.kind", "usage_events.operation", "usage_events.payer",
        "vault_secrets.owner_kind", "vector_shelves.state", "vector_versions.state",
    }  # fmt: skip
