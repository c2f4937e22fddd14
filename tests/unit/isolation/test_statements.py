"""PostgreSQL's errors become ours, and lose their text: it may quote rows and names (SEC-4)."""

import psycopg
import pytest
from psycopg import errors

from tenantry.core.errors import (
    Conflict,
    ContextInvalid,
    ContextMissing,
    InvalidRequest,
    StoreUnavailable,
    TenantryError,
)
from tenantry.isolation.statements import translate

_SECRET = 'duplicate key value violates "members_key" DETAIL: Key (name)=(Globex merger)'


def error(sqlstate: str | None) -> psycopg.Error:
    made = errors.lookup(sqlstate)(_SECRET) if sqlstate in _KNOWN else psycopg.Error(_SECRET)
    made.sqlstate = sqlstate
    return made


_KNOWN = {"23505", "23503", "22012", "40001", "57014", "08006", "42501"}


@pytest.mark.req("DB-3", "SEC-4")
@pytest.mark.parametrize(
    ("sqlstate", "ours"),
    [
        ("TC001", ContextMissing),
        ("TC002", ContextInvalid),
        ("23505", Conflict),
        ("23503", Conflict),
        ("23514", InvalidRequest),
        ("22012", InvalidRequest),
        ("08006", StoreUnavailable),
        ("53300", StoreUnavailable),
        ("57014", StoreUnavailable),
        ("57P01", StoreUnavailable),
        ("25P02", StoreUnavailable),
        (None, StoreUnavailable),
        ("42501", TenantryError),
        ("42P01", TenantryError),
        ("XX000", TenantryError),
    ],
)
def test_errors_are_mapped_by_state_and_keep_no_text(
    sqlstate: str | None, ours: type[TenantryError]
) -> None:
    made = translate(error(sqlstate))
    assert type(made) is ours
    assert "Globex" not in str(made)
    assert "members_key" not in str(made)
