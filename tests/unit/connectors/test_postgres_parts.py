"""What the PostgreSQL connector reads from a server without asking it (CON-1, CON-2, CON-3)."""

import pytest

from tenantry.connectors.login_verdict import Verdict
from tenantry.connectors.postgres_dial import Authority
from tenantry.connectors.postgres_errors import translated, unreachable
from tenantry.connectors.postgres_login import judge
from tenantry.connectors.postgres_options import PostgresOptions
from tenantry.connectors.postgres_plan import cost
from tenantry.connectors.postgres_values import ResultColumn
from tenantry.core.errors import InvalidRequest, QueryFailed, QueryTimeout, SourceUnreachable
from tenantry.core.events import Json

_RIGHT: dict[str, Json] = {"host": "h", "database": "d", "user": "u"}
_NO = (b"f", b"f", b"f")
_PLAIN = (b"u", b"f", b"f", b"f", b"f", b"f")


def test_the_options_are_stored_with_their_defaults() -> None:
    stored = PostgresOptions.read(_RIGHT).stored()
    assert (stored["port"], stored["tls"], stored["level"]) == (5432, "verify-full", "hybrid")
    assert PostgresOptions.read(stored).stored() == stored


@pytest.mark.parametrize(
    ("access", "schemas"),
    [
        ({}, ("public",)),
        ({"schemas": ["sales"]}, ("sales",)),
        ({"tables": {"orders": "*"}}, ("public",)),
        ({"tables": {"orders": "*", "sales.leads": "*"}}, ("public", "sales")),
    ],
)
@pytest.mark.req("CON-1")
def test_the_schemas_are_those_named(access: Json, schemas: tuple[str, ...]) -> None:
    assert PostgresOptions.read({**_RIGHT, "access": access}).schemas() == schemas


@pytest.mark.parametrize("schema", ["pg_catalog", "pg_toast", "information_schema"])
@pytest.mark.req("CON-3")
def test_no_schema_of_the_system_is_offered(schema: str) -> None:
    accesses: list[Json] = [{"schemas": [schema]}, {"tables": {f"{schema}.pg_class": "*"}}]
    for access in accesses:
        with pytest.raises(InvalidRequest, match="system"):
            PostgresOptions.read({**_RIGHT, "access": access})


@pytest.mark.parametrize("host", ["/run/postgresql", "@abstract", "a,b", "a b", "h'"])
def test_a_host_is_one_host(host: str) -> None:
    with pytest.raises(InvalidRequest, match="host"):
        PostgresOptions.read({**_RIGHT, "host": host})


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ((b"boss", b"t", b"t", b"t", b"t", b"t"), "superuser"),
        ((b"u", b"f", b"t", b"f", b"f", b"f"), "BYPASSRLS"),
        ((b"u", b"f", b"f", b"t", b"f", b"f"), "REPLICATION"),
        ((b"u", b"f", b"f", b"f", b"t", b"f"), "CREATEROLE"),
        ((b"pg_write_server_files", *_PLAIN[1:]), "pg_write_server_files"),
    ],
)
@pytest.mark.req("CON-3")
def test_a_login_or_a_role_that_it_may_become_is_refused(
    role: tuple[bytes, ...], says: str
) -> None:
    verdict = judge([_PLAIN, role], _NO)
    assert verdict.refused == (says,)
    with pytest.raises(InvalidRequest, match=says):
        verdict.enforce()


def test_a_login_that_only_reads_is_fine_and_one_that_writes_is_warned_of() -> None:
    assert judge([_PLAIN, (b"pg_monitor", *_PLAIN[1:])], _NO) == Verdict((), ())
    (warning,) = judge([_PLAIN], (b"t", b"t", b"t")).enforce()
    assert "write tables, change tables that it owns, create tables" in warning


@pytest.mark.parametrize(
    ("oid", "text", "value"),
    [
        (20, b"-5", -5),
        (701, b"Infinity", "Infinity"),
        (701, b"1e+300", 1e300),
        (1114, b"2024-01-02 03:04:05", "2024-01-02T03:04:05"),
        (1114, b"0044-03-15 00:00:00 BC", "0044-03-15 00:00:00 BC"),
        (1184, b"infinity", "infinity"),
        (1184, b"2024-01-02 03:04:05+05:30", "2024-01-02T03:04:05+05:30"),
        (114, b'{"a": NaN}', '{"a": NaN}'),
        (1007, b"[0:1]={1,2}", [1, 2]),
        (1007, b"{}", []),
        (1009, b'{NULL,"NULL","a\\"b{,}\\\\"}', [None, "NULL", 'a"b{,}\\']),
        (1231, b"{1.50,NaN}", ["1.50", "NaN"]),
        (99999, b"anything \xff", "anything �"),
        (25, None, None),
    ],
)
@pytest.mark.req("CON-3")
def test_a_value_keeps_what_it_says(oid: int, text: bytes | None, value: Json) -> None:
    found = ResultColumn("c", oid).value(text)
    assert str(found) == str(value)
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("oid", "text"),
    [(20, b"x"), (17, b"\\xzz"), (1007, b"{1"), (1007, b"}"), (1007, b"{" * 9), (1007, b"")],
)
def test_a_value_that_is_not_of_its_type_is_refused(oid: int, text: bytes) -> None:
    with pytest.raises(QueryFailed, match="not of its type"):
        ResultColumn("c", oid).value(text)


@pytest.mark.parametrize("plan", [b"", b"{}", b"[]", b'[{"Plan": 1}]', b"[1", b"[null]"])
def test_a_plan_that_cannot_be_read_costs_nothing(plan: bytes) -> None:
    assert cost(plan) == 0
    assert cost(b'[{"Plan": {"Total Cost": 12.5}}]') == 12.5


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("57014", QueryTimeout), ("57P01", SourceUnreachable), ("08006", SourceUnreachable),
        ("53300", SourceUnreachable), ("42P01", QueryFailed), ("25006", QueryFailed),
    ],
)  # fmt: skip
def test_a_servers_error_is_told_by_its_code(code: str, kind: type[Exception]) -> None:
    assert type(translated(code, "a\nb\x1b[31m" + "c" * 1000)) is kind
    assert len(translated(code, "c" * 1000).message) < 400


def test_what_is_wrong_with_a_connection_is_told_in_our_words_where_it_is_known() -> None:
    text = 'connection to server at "10.1.2.3" failed: FATAL:  password authentication failed'
    assert "10.1.2.3" not in unreachable(text, "h", 1).message
    other = unreachable('… "10.1.2.3" … FATAL:  etwas\nanderes', "h", 1).message
    assert other == "The connection cannot be opened: etwas anderes"


def test_a_folder_that_somebody_else_made_holds_no_authority() -> None:
    authority = Authority.of("PEM")
    authority.folder.mkdir()
    try:
        with pytest.raises(FileExistsError), authority.held():
            pass
    finally:
        authority.folder.rmdir()
    with authority.held():
        assert authority.path.stat().st_mode & 0o777 == 0o600
        assert authority.folder.stat().st_mode & 0o777 == 0o700
    assert not authority.folder.exists()
