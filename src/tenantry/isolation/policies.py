"""The rules of isolation, checked against `pg_catalog` itself (DB-1).

Start-up, `tenantry doctor` and the tests ask the same question: is there any table, policy,
constraint, function, view or grant in this database that the design does not know? What is
allowed stands in `isolation.declared`; a rule is a plain function over a snapshot of the
catalogue.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tenantry.core.errors import StartupRefused
from tenantry.db.queries import load
from tenantry.isolation.catalogue import Catalogue, Policy, read_catalogue
from tenantry.isolation.declared import (
    DEFINERS,
    FURTHER_POLICIES,
    GRANTS,
    OPEN_OR_READABLE,
    OWN_ROWS,
    OWNER_ROLE,
    RESTRICTIONS,
    SAFE_SEARCH_PATH,
    TENANT_ROLE,
    FurtherPolicy,
)
from tenantry.isolation.statements import Statements

_SQL = load("tenantry.isolation")
_DIRECTORY = "tenantry.tenants"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: `rule` is stable, `subject` is the object, `problem` says what to do."""

    rule: str
    subject: str
    problem: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem} [{self.rule}]"


def row_security(catalogue: Catalogue) -> Iterator[Violation]:
    """Every tenant table has row-level security, for its owner too, and can have it."""
    for table in catalogue.tenant_tables:
        if not table.has_tenant:
            yield Violation("tenant-column", table.name, "has no tenant_id and is not declared")
        if table.kind == "f":
            yield Violation("row-security", table.name, "a foreign table cannot have policies")
        if not table.is_enabled:
            yield Violation("row-security", table.name, "lacks ENABLE ROW LEVEL SECURITY")
        if not table.is_forced:
            yield Violation("force-row-security", table.name, "lacks FORCE ROW LEVEL SECURITY")
        if table.owner != OWNER_ROLE:
            yield Violation("owner", table.name, f"belongs to {table.owner}, not to {OWNER_ROLE}")
        if table.has_rules:
            yield Violation("rewrite-rule", table.name, "has a rewrite rule")


def tenant_policy(catalogue: Catalogue) -> Iterator[Violation]:
    """Every tenant table has the tenant policy, whole, and further ones only if declared."""
    for table in catalogue.tenant_tables:
        found = [p for p in catalogue.policies if p.relation == table.name]
        if not any(_is_tenant_policy(p) for p in found):
            yield Violation(
                "tenant-policy",
                table.name,
                f"lacks the policy FOR ALL TO {TENANT_ROLE} with USING and WITH CHECK {OWN_ROWS}",
            )
        for policy in found:
            if not _is_tenant_policy(policy) and not _is_declared(policy):
                yield Violation(
                    "further-policy", f"{table.name}.{policy.name}", "is not a declared policy"
                )


def restrictions(catalogue: Catalogue) -> Iterator[Violation]:
    """Inside a tenant, rows have their readers and their keepers: each such policy is there, whole.

    A table whose rows name an audience is restricted to it, declared or not.
    """
    for declared in sorted(RESTRICTIONS, key=lambda known: (known.relation, known.name)):
        if not any(_same(declared, policy) for policy in catalogue.policies):
            yield Violation(
                "restriction", f"{declared.relation}.{declared.name}", "is missing or was changed"
            )
    for table in catalogue.tenant_tables:
        found = [p for p in catalogue.policies if p.relation == table.name]
        if table.has_audience and not any(map(_is_readers, found)):
            yield Violation("restriction", table.name, "names an audience, and lacks its policy")


def _is_tenant_policy(policy: Policy) -> bool:
    return (
        policy.is_permissive
        and policy.command == "*"
        and policy.roles == (TENANT_ROLE,)
        and policy.condition == OWN_ROWS
        and policy.check_condition == OWN_ROWS
    )


def _is_declared(policy: Policy) -> bool:
    known = FURTHER_POLICIES if policy.is_permissive else RESTRICTIONS
    return _is_readers(policy) or any(_same(declared, policy) for declared in known)


def _is_readers(policy: Policy) -> bool:
    return (
        not policy.is_permissive
        and policy.command == "*"
        and policy.roles == (TENANT_ROLE,)
        and policy.condition == policy.check_condition == OPEN_OR_READABLE
    )


def _same(declared: FurtherPolicy, policy: Policy) -> bool:
    return (
        declared.is_permissive == policy.is_permissive
        and declared.relation == policy.relation
        and declared.name == policy.name
        and declared.command == policy.command
        and policy.roles == (declared.role,)
        and declared.condition == policy.condition
        and declared.check == policy.check_condition
    )


def unique_keys(catalogue: Catalogue) -> Iterator[Violation]:
    """Unique keys start with tenant_id: they look past row-level security, and would tell."""
    tables = {t.name for t in catalogue.tenant_tables}
    found = [i for i in catalogue.unique_indexes if i.relation in tables]
    for index in found:
        if not index.columns or index.columns[0] != "tenant_id":
            rule = "primary-key" if index.is_primary else "unique-key"
            yield Violation(rule, f"{index.relation}.{index.name}", "does not start with tenant_id")
    for name in sorted(tables - {i.relation for i in found if i.is_primary}):
        yield Violation("primary-key", name, "has no primary key")


def foreign_keys(catalogue: Catalogue) -> Iterator[Violation]:
    """Foreign keys between tenant tables carry the tenant: they look past row-level security."""
    tables = {t.name for t in catalogue.tenant_tables}
    for key in catalogue.foreign_keys:
        if key.target not in tables:
            continue
        starts = key.columns[:1] == key.target_columns[:1] == ("tenant_id",)
        if not starts or (len(key.columns) < 2 and key.target != _DIRECTORY):
            yield Violation(
                "foreign-key",
                f"{key.relation}.{key.name}",
                "is not composite with tenant_id first on both sides",
            )


def functions(catalogue: Catalogue) -> Iterator[Violation]:
    """Definer-rights functions are declared and pin their search path; none is anybody's."""
    names = [function.name for function in catalogue.functions if function.is_definer]
    for function in catalogue.functions:
        if function.is_leakproof:
            yield Violation(
                "leakproof", function.name, "is LEAKPROOF: it sees rows before policies"
            )
        if "" in function.callers:
            yield Violation("public-grant", function.name, "can be executed by PUBLIC")
        if not function.is_definer:
            continue
        if function.search_path != SAFE_SEARCH_PATH:
            yield Violation(
                "definer-search-path",
                function.name,
                f"is SECURITY DEFINER without SET search_path = {SAFE_SEARCH_PATH}",
            )
        callers = frozenset(function.callers) - {""}
        if callers != DEFINERS.get(function.name) or names.count(function.name) > 1:
            yield Violation(
                "definer", function.name, "is SECURITY DEFINER, undeclared or with other callers"
            )


def views(catalogue: Catalogue) -> Iterator[Violation]:
    """Views run with the caller's rights; a materialised one is a copy without policies."""
    for view in catalogue.relations:
        options = {option.lower().replace("=on", "=true") for option in view.options}
        if view.kind == "v" and not options & {"security_invoker=true", "security_invoker=1"}:
            yield Violation("view", view.name, "lacks security_invoker")
        if view.kind == "m":
            yield Violation("view", view.name, "is materialised: a copy without policies")


def grants(catalogue: Catalogue) -> Iterator[Violation]:
    """Privileges are exactly the declared ones: none to PUBLIC, no TRUNCATE, no rewriting."""
    found = {(g.object, g.role, g.privilege) for g in catalogue.grants}
    for name, role, privilege in sorted(found - GRANTS):
        rule = "grant" if role else "public-grant"
        yield Violation(rule, name, f"{privilege} is granted to {role or 'PUBLIC'}, undeclared")
    for name, role, privilege in sorted(GRANTS - found):
        yield Violation("missing-grant", name, f"{privilege} is declared for {role}, not granted")


RULES: tuple[Callable[[Catalogue], Iterator[Violation]], ...] = (
    row_security,
    tenant_policy,
    restrictions,
    unique_keys,
    foreign_keys,
    functions,
    views,
    grants,
)
"""Every rule; each gives its violations."""


def violations_in(catalogue: Catalogue) -> list[Violation]:
    """What breaks a rule, in the order of the rules."""
    return [violation for rule in RULES for violation in rule(catalogue)]


async def check_policies(statements: Statements) -> list[Violation]:
    """Every broken rule of this database; empty when isolation is whole."""
    return violations_in(await read_catalogue(statements))


async def refuse_broken_isolation(statements: Statements) -> None:
    """Let start-up go on only if no rule is broken.

    Raises:
        StartupRefused: with every violation, one a line.
    """
    found = await check_policies(statements)
    if found:
        lines = "\n".join(f"  {violation}" for violation in found)
        raise StartupRefused(f"The database breaks {len(found)} rules of isolation:\n{lines}")


async def shared_surfaces(statements: Statements) -> list[str]:
    """Functions reaching over sessions that tenants' SQL could still call.

    Only a superuser can withdraw them (`db/bootstrap.sql` does). Where the administrator is none,
    they show the texts of other sessions' statements, never rows; `tenantry doctor` lists them.
    """
    return [row["routine"] for row in await statements.rows(_SQL["shared_surfaces"])]
