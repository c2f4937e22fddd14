"""The catalogue rules over made-up catalogues; over a real one in tests/isolation (DB-1)."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.isolation.catalogue import (
    Catalogue,
    ForeignKey,
    Function,
    Grant,
    Policy,
    Relation,
    UniqueIndex,
)
from tenantry.isolation.declared import (
    FURTHER_POLICIES,
    GRANTS,
    OPEN_OR_READABLE,
    OWN_ROWS,
    OWNER_ROLE,
    PLATFORM_TABLES,
    RESTRICTIONS,
    SAFE_SEARCH_PATH,
    TENANT_ROLE,
    FurtherPolicy,
)
from tenantry.isolation.policies import (
    RULES,
    Violation,
    foreign_keys,
    functions,
    grants,
    restrictions,
    row_security,
    tenant_policy,
    unique_keys,
    views,
    violations_in,
)

TABLE = Relation("tenantry.gadgets", "r", OWNER_ROLE, True, True, (), True, False)
POLICY = Policy(TABLE.name, "tenant", True, "*", (TENANT_ROLE,), OWN_ROWS, OWN_ROWS)
PRIMARY = UniqueIndex(TABLE.name, "gadgets_pkey", True, ("tenant_id", "gadget_id"))
DEFINER = Function("tenantry.verified_tenant", True, False, SAFE_SEARCH_PATH, (TENANT_ROLE,))
VIEW = Relation(
    "tenantry.v", "v", OWNER_ROLE, False, False, ("security_invoker=true",), True, False
)
_DECLARED: list[FurtherPolicy] = sorted(FURTHER_POLICIES, key=lambda p: (p.relation, p.name))


def as_found(declared: FurtherPolicy) -> Policy:
    """A declared policy as the catalogue shows it."""
    return Policy(
        declared.relation,
        declared.name,
        declared.is_permissive,
        declared.command,
        (declared.role,),
        declared.condition,
        declared.check,
    )


RESTRICTED = tuple(map(as_found, sorted(RESTRICTIONS, key=lambda p: (p.relation, p.name))))


def whole() -> Catalogue:
    """A catalogue that breaks no rule."""
    return Catalogue(
        relations=(TABLE, VIEW),
        unique_indexes=(PRIMARY,),
        foreign_keys=(
            ForeignKey(
                TABLE.name, "fk", TABLE.name, ("tenant_id", "a"), ("tenant_id", "gadget_id")
            ),
        ),
        policies=(POLICY, *RESTRICTED),
        functions=(DEFINER,),
        grants=tuple(Grant(*g) for g in sorted(GRANTS)),
    )


def rules(found: object) -> set[str]:
    return {v.rule for v in found}  # type: ignore[attr-defined]


@pytest.mark.req("DB-1")
def test_whole_catalogue_breaks_no_rule() -> None:
    assert violations_in(whole()) == []


@pytest.mark.req("DB-1")
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"is_enabled": False}, "row-security"),
        ({"is_forced": False}, "force-row-security"),
        ({"owner": "postgres"}, "owner"),
        ({"has_tenant": False}, "tenant-column"),
        ({"has_rules": True}, "rewrite-rule"),
        ({"kind": "f"}, "row-security"),
    ],
)
def test_table_that_could_be_read_past_its_policies(change: dict[str, object], rule: str) -> None:
    table = dataclasses.replace(TABLE, **change)  # type: ignore[arg-type]
    assert rules(row_security(Catalogue(relations=(table,)))) == {rule}


@pytest.mark.req("DB-1")
@pytest.mark.parametrize(
    ("name", "kind", "has_tenant", "is_tenant"),
    [
        ("tenantry.new", "r", False, True),  # not declared: then it must be a tenant's
        ("tenantry.new", "p", True, True),
        ("public.copy", "r", True, True),
        ("tenantry_private.keys", "r", False, False),
        ("tenantry_private.copy", "r", True, True),
        ("tenantry.prices", "r", False, False),
        ("tenantry.prices", "r", True, True),
        ("tenantry.v", "v", True, False),
        ("tenantry.s", "S", False, False),
    ],
)
def test_what_counts_as_a_tenant_table(
    name: str, kind: str, has_tenant: bool, is_tenant: bool
) -> None:
    found = Relation(name, kind, OWNER_ROLE, True, True, (), has_tenant, False)
    assert found.is_tenant_table is is_tenant


@pytest.mark.req("DB-1")
@pytest.mark.parametrize(
    "change",
    [
        {"is_permissive": False},
        {"command": "r"},
        {"roles": ("",)},
        {"roles": (TENANT_ROLE, "tenantry_auth")},
        {"roles": ()},
        {"condition": "true"},
        {"condition": None},
        {"check_condition": None},
        {"check_condition": "true"},
        {"condition": OWN_ROWS + " OR true"},
    ],
)
def test_any_other_tenant_policy_is_none(change: dict[str, object]) -> None:
    policy = dataclasses.replace(POLICY, **change)  # type: ignore[arg-type]
    catalogue = Catalogue(relations=(TABLE,), policies=(policy,))
    assert rules(tenant_policy(catalogue)) == {"tenant-policy", "further-policy"}


@pytest.mark.req("DB-1")
@pytest.mark.parametrize("declared", _DECLARED)
def test_declared_policy_is_known_only_exactly(declared: FurtherPolicy) -> None:
    d = declared
    found = Policy(d.relation, d.name, True, d.command, (d.role,), d.condition, d.check)
    table = dataclasses.replace(TABLE, name=d.relation)
    own = dataclasses.replace(POLICY, relation=d.relation)

    def broken(policy: Policy) -> set[str]:
        return rules(tenant_policy(Catalogue(relations=(table,), policies=(own, policy))))

    assert broken(found) == set()
    assert broken(dataclasses.replace(found, roles=(d.role, TENANT_ROLE))) == {"further-policy"}
    assert broken(dataclasses.replace(found, command="d")) == {"further-policy"}
    assert broken(dataclasses.replace(found, condition="1 = 1")) == {"further-policy"}
    assert broken(dataclasses.replace(found, check_condition="1 = 1")) == {"further-policy"}
    assert d.role != TENANT_ROLE  # tenants have the one policy


@pytest.mark.req("DB-1")
@given(st.lists(st.sampled_from(["tenant_id", "a", "b", None]), max_size=4))
def test_unique_key_starts_with_the_tenant_or_is_found(columns: list[str | None]) -> None:
    index = UniqueIndex(TABLE.name, "u", False, tuple(columns))
    found = rules(unique_keys(Catalogue(relations=(TABLE,), unique_indexes=(PRIMARY, index))))
    assert found == (set() if columns[:1] == ["tenant_id"] else {"unique-key"})


@pytest.mark.req("DB-1")
def test_table_needs_a_primary_key() -> None:
    assert rules(unique_keys(Catalogue(relations=(TABLE,)))) == {"primary-key"}
    elsewhere = UniqueIndex("tenantry.prices", "p", True, ("version",))
    assert rules(unique_keys(Catalogue(unique_indexes=(elsewhere,)))) == set()


@pytest.mark.req("DB-1")
@pytest.mark.parametrize(
    ("target", "columns", "target_columns", "is_found"),
    [
        (TABLE.name, ("tenant_id", "a"), ("tenant_id", "gadget_id"), False),
        (TABLE.name, ("a",), ("gadget_id",), True),
        (TABLE.name, ("a", "tenant_id"), ("gadget_id", "tenant_id"), True),
        (TABLE.name, ("a", "b"), ("tenant_id", "gadget_id"), True),
        (TABLE.name, ("tenant_id", "a"), ("gadget_id", "tenant_id"), True),
        (TABLE.name, ("tenant_id",), ("tenant_id",), True),
        ("tenantry.tenants", ("tenant_id",), ("tenant_id",), False),
        ("tenantry.tenants", ("a",), ("tenant_id",), True),
        ("tenantry.prices", ("a",), ("version",), False),  # belongs to no tenant
    ],
)
def test_foreign_key_carries_the_tenant(
    target: str, columns: tuple[str, ...], target_columns: tuple[str, ...], is_found: bool
) -> None:
    directory = dataclasses.replace(TABLE, name="tenantry.tenants")
    key = ForeignKey(TABLE.name, "fk", target, columns, target_columns)
    catalogue = Catalogue(relations=(TABLE, directory), foreign_keys=(key,))
    assert rules(foreign_keys(catalogue)) == ({"foreign-key"} if is_found else set())


@pytest.mark.req("DB-1")
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"search_path": ""}, {"definer-search-path"}),
        ({"search_path": "pg_temp, pg_catalog"}, {"definer-search-path"}),
        ({"search_path": "pg_catalog"}, {"definer-search-path"}),
        ({"callers": ()}, {"definer"}),
        ({"callers": (TENANT_ROLE, "tenantry_auth")}, {"definer"}),
        ({"callers": ("", TENANT_ROLE)}, {"public-grant"}),
        ({"name": "tenantry.other"}, {"definer"}),
        ({"is_leakproof": True}, {"leakproof"}),
        ({"is_definer": False, "search_path": "", "callers": ()}, set()),
        ({"is_definer": False, "callers": ("",)}, {"public-grant"}),
    ],
)
def test_definer_functions_are_declared_and_pinned(
    change: dict[str, object], found: set[str]
) -> None:
    function = dataclasses.replace(DEFINER, **change)  # type: ignore[arg-type]
    assert rules(functions(Catalogue(functions=(function,)))) == found


@pytest.mark.req("DB-1")
def test_overload_of_a_declared_function_is_found() -> None:
    assert rules(functions(Catalogue(functions=(DEFINER, DEFINER)))) == {"definer"}


@pytest.mark.req("DB-1")
@pytest.mark.parametrize(
    ("kind", "options", "is_found"),
    [
        ("v", ("security_invoker=true",), False),
        ("v", ("security_invoker=on",), False),
        ("v", ("security_barrier=true", "security_invoker=1"), False),
        ("v", (), True),
        ("v", ("security_invoker=false",), True),
        ("v", ("security_barrier=true",), True),
        ("m", ("security_invoker=true",), True),
        ("r", (), False),
    ],
)
def test_views_run_with_the_callers_rights(
    kind: str, options: tuple[str, ...], is_found: bool
) -> None:
    view = dataclasses.replace(VIEW, kind=kind, options=options)
    assert rules(views(Catalogue(relations=(view,)))) == ({"view"} if is_found else set())


@pytest.mark.req("DB-1")
def test_grants_are_exactly_the_declared_ones() -> None:
    exact = tuple(Grant(*g) for g in GRANTS)
    assert rules(grants(Catalogue(grants=exact))) == set()
    more = Grant("tenantry.messages", TENANT_ROLE, "TRUNCATE")
    assert rules(grants(Catalogue(grants=(*exact, more)))) == {"grant"}
    public = Grant("tenantry.messages", "", "SELECT")
    assert rules(grants(Catalogue(grants=(*exact, public)))) == {"public-grant"}
    assert rules(grants(Catalogue(grants=exact[1:]))) == {"missing-grant"}


@pytest.mark.req("DB-1")
@pytest.mark.parametrize("number", range(len(RESTRICTED)))
def test_restrictions_inside_a_tenant_are_all_there_as_declared(number: int) -> None:
    others = RESTRICTED[:number] + RESTRICTED[number + 1 :]
    assert rules(restrictions(Catalogue(policies=others))) == {"restriction"}
    changed = dataclasses.replace(RESTRICTED[number], condition="true", is_permissive=True)
    assert rules(restrictions(Catalogue(policies=(*others, changed)))) == {"restriction"}


@pytest.mark.req("DB-1", "VEC-2")
def test_table_whose_rows_name_an_audience_is_restricted_to_it() -> None:
    table = dataclasses.replace(TABLE, has_audience=True)
    readers = Policy(
        table.name, "r", False, "*", (TENANT_ROLE,), OPEN_OR_READABLE, OPEN_OR_READABLE
    )
    found = Catalogue(relations=(table,), policies=RESTRICTED)
    assert rules(restrictions(found)) == {"restriction"}
    found = dataclasses.replace(found, policies=(*RESTRICTED, POLICY, readers))
    assert rules([*restrictions(found), *tenant_policy(found)]) == set()


@pytest.mark.req("DB-1")
def test_every_rule_is_asked() -> None:
    assert set(RULES) == {
        row_security, tenant_policy, restrictions, unique_keys, foreign_keys, functions, views,
        grants,
    }  # fmt: skip


def test_violation_says_what_where_and_which_rule() -> None:
    told = str(Violation("force-row-security", "tenantry.x", "lacks FORCE ROW LEVEL SECURITY"))
    assert told == "tenantry.x: lacks FORCE ROW LEVEL SECURITY [force-row-security]"


@pytest.mark.req("DB-1")
def test_platform_tables_give_their_reason() -> None:
    assert all(PLATFORM_TABLES.values())
    assert all(p.reason for p in FURTHER_POLICIES)
