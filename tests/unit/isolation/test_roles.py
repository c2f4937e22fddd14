"""What is said against a role, without a server; with one in tests/integration (DB-5)."""

import dataclasses

import pytest

from tenantry.isolation.declared import OWNER_ROLE, TENANT_ROLE
from tenantry.isolation.roles import MAY_BECOME, SEARCH_PATH, RoleFacts, objections

APP = RoleFacts("tenantry_app", member_of=(TENANT_ROLE,), settings=(SEARCH_PATH,))


@pytest.mark.req("DB-5")
@pytest.mark.parametrize("name", MAY_BECOME)
def test_role_with_nothing_more_is_safe(name: str) -> None:
    facts = RoleFacts(name, member_of=tuple(MAY_BECOME[name]), settings=(SEARCH_PATH,))
    assert list(objections(facts)) == []


@pytest.mark.req("DB-5")
def test_role_that_is_only_become_needs_no_settings() -> None:
    assert list(objections(RoleFacts(TENANT_ROLE))) == []


@pytest.mark.req("DB-5")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"is_superuser": True}, "superuser"),
        ({"bypasses_rls": True}, "BYPASSRLS"),
        ({"creates_roles": True}, "CREATEROLE"),
        ({"creates_databases": True}, "CREATEDB"),
        ({"replicates": True}, "REPLICATION"),
        ({"member_of": (TENANT_ROLE, OWNER_ROLE)}, f"member of {OWNER_ROLE}"),
        ({"member_of": ("pg_read_all_data",)}, "pg_read_all_data"),
        ({"database_rights": ("TEMP",)}, "TEMP"),
        ({"creates_in": ("public",)}, "schema public"),
        ({"owns": ("tenantry.messages",)}, "owns tenantry.messages"),
        ({"parameters": ("backtrace_functions",)}, "backtrace_functions"),
        ({"settings": (SEARCH_PATH, "row_security=off")}, "row_security=off"),
        ({"settings": (SEARCH_PATH, "search_path=public")}, "search_path=public"),
        ({"settings": ()}, "does not begin"),
    ],
)
def test_each_right_too_many_is_named(change: dict[str, object], told: str) -> None:
    (objection,) = objections(dataclasses.replace(APP, **change))  # type: ignore[arg-type]
    assert told in objection


@pytest.mark.req("DB-5")
def test_nobody_may_become_the_owner() -> None:
    assert not any(OWNER_ROLE in roles for roles in MAY_BECOME.values())
    assert [r for r, others in MAY_BECOME.items() if others] == ["tenantry_app"]
