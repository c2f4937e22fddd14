"""Start-up refuses a database role that could do more than its part (DB-5).

Row-level security means nothing to a superuser, to a role that bypasses it or owns the tables, or
to one that can become such a role. So each pool's role is examined before the first request: its
attributes, what it is a member of, what it owns, where it could create something, and which
settings its sessions begin with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tenantry.core.errors import StartupRefused
from tenantry.db.queries import load
from tenantry.isolation.declared import TENANT_ROLE
from tenantry.isolation.statements import Statements

_SQL = load("tenantry.isolation")

MAY_BECOME: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "tenantry_app": frozenset({TENANT_ROLE}),
        "tenantry_auth": frozenset(),
        "tenantry_audit": frozenset(),
        "tenantry_operator": frozenset(),
        "tenantry_breakglass": frozenset(),
        "tenantry_ledger": frozenset(),
        "tenantry_queue": frozenset(),
    }
)
"""The roles that sign in, and what each may be a member of."""

SEARCH_PATH = "search_path=pg_catalog, extensions"
SETTINGS = frozenset(
    {"search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}
)
"""What `db/bootstrap.sql` sets for a role; anything else was set by somebody else."""


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """A role as PostgreSQL describes it."""

    name: str
    is_superuser: bool = False
    bypasses_rls: bool = False
    creates_roles: bool = False
    creates_databases: bool = False
    replicates: bool = False
    member_of: tuple[str, ...] = ()
    database_rights: tuple[str, ...] = ()
    creates_in: tuple[str, ...] = ()
    owns: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()


def objections(role: RoleFacts) -> Iterator[str]:
    """Why no transaction may run as this role, one clause each; nothing if it may."""
    attributes = {
        "is a superuser": role.is_superuser,
        "bypasses row-level security (BYPASSRLS)": role.bypasses_rls,
        "may create roles (CREATEROLE)": role.creates_roles,
        "may create databases (CREATEDB)": role.creates_databases,
        "may replicate, and so read everything (REPLICATION)": role.replicates,
    }
    yield from (text for text, holds in attributes.items() if holds)
    for other in sorted(set(role.member_of) - MAY_BECOME.get(role.name, frozenset())):
        yield f"is a member of {other}"
    yield from (f"has {right} on the database" for right in role.database_rights)
    yield from (f"may create objects in schema {schema}" for schema in role.creates_in)
    yield from (f"owns {thing}" for thing in role.owns)
    yield from (f"may set the parameter {parameter}" for parameter in role.parameters)
    for setting in role.settings:
        name = setting.partition("=")[0]
        if name not in SETTINGS or (name == "search_path" and setting != SEARCH_PATH):
            yield f"begins its sessions with {setting}"
    if role.name in MAY_BECOME and SEARCH_PATH not in role.settings:
        yield f"does not begin its sessions with {SEARCH_PATH}"


async def describe_role(statements: Statements, name: str) -> RoleFacts:
    """What PostgreSQL says about a role.

    Raises:
        StartupRefused: there is no such role.
    """
    row = await statements.row(_SQL["describe_role"], role=name)
    if row is None:
        raise StartupRefused(f"There is no role {name}. Run `tenantry migrate`.")
    facts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return RoleFacts(**facts)


async def check_role(statements: Statements, expected: str) -> list[str]:
    """Every objection to this session's role and to what it can become; empty when safe."""
    session = await statements.row(_SQL["session_roles"])
    found = []
    if session != {"signed_in": expected, "acting": expected}:
        found.append(f"the session is {session}, where {expected} belongs")
    for name in (expected, *sorted(MAY_BECOME[expected])):
        facts = await describe_role(statements, name)
        found.extend(f"{name} {objection}" for objection in objections(facts))
    return found


async def refuse_unsafe_role(statements: Statements, expected: str) -> None:
    """Let start-up go on only if this session's role can do no more than `expected` should.

    Raises:
        StartupRefused: with every objection.
    """
    found = await check_role(statements, expected)
    if found:
        lines = "\n".join(f"  {objection}" for objection in found)
        raise StartupRefused(
            f"The database role is not safe to serve with:\n{lines}\n"
            "Undo what was granted, then run `tenantry migrate` as an administrator."
        )
