"""Options of a MySQL connector say which of them is wrong, not what it held (CON-1)."""

import ssl

import pytest

from tenantry.connectors.database_options import Access
from tenantry.connectors.mysql_options import MySQLOptions
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tests.sources.certificates import Authority

_RIGHT: dict[str, Json] = {"host": "db.acme.test", "database": "shop", "user": "tenantry"}


def test_what_is_left_out_has_safe_defaults() -> None:
    options = MySQLOptions.read(_RIGHT)
    assert (options.port, options.tls, options.level) == (3306, "verify-full", "hybrid")
    assert options.access == Access(tables=None, samples=False)


@pytest.mark.parametrize("missing", ["host", "database", "user"])
def test_what_cannot_be_left_out_is_named(missing: str) -> None:
    with pytest.raises(InvalidRequest, match=missing):
        MySQLOptions.read({name: value for name, value in _RIGHT.items() if name != missing})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("host", "a b"), ("host", "user@db.acme.test"), ("host", "db\n"), ("host", "x" * 254),
        ("host", 7), ("port", 65_536), ("port", True), ("port", "3306"), ("port", 3306.5),
        ("database", "a\0"), ("database", "x" * 65), ("user", "x" * 81), ("user", "\x7f"),
        ("tls", "prefer"), ("tls", None), ("tls_ca", "-----BEGIN CERTIFICATE-----"),
        ("level", "private"), ("access", []), ("access", {"tables": {"t": "all"}}),
        ("access", {"tables": {"t": []}}), ("access", {"samples": "yes"}),
        ("access", {"schemas": ["mysql"]}), ("password", "hunter2"), ("local_infile", True),
        ("unix_socket", "/run/mysqld.sock"), ("init_command", "SET GLOBAL x = 1"),
    ],
)  # fmt: skip
@pytest.mark.req("CON-1")
def test_a_wrong_or_unknown_option_is_named_and_not_repeated(option: str, value: Json) -> None:
    with pytest.raises(InvalidRequest, match=option) as caught:
        MySQLOptions.read({**_RIGHT, option: value})
    assert "hunter2" not in str(caught.value)


def test_a_certificate_is_checked_against_the_host_unless_that_is_waived() -> None:
    checked = MySQLOptions.read(_RIGHT).encryption()
    assert checked is not None
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    believed = MySQLOptions.read({**_RIGHT, "tls": "require"}).encryption()
    assert believed is not None
    assert believed.verify_mode == ssl.CERT_NONE
    assert MySQLOptions.read({**_RIGHT, "tls": "disable"}).encryption() is None


def test_a_given_authority_is_the_only_one_believed() -> None:
    context = MySQLOptions.read({**_RIGHT, "tls_ca": Authority.create().certificate}).encryption()
    assert context is not None
    assert len(context.get_ca_certs()) == 1


def test_columns_are_those_of_the_access_pattern() -> None:
    access = Access(tables={"orders": "*", "shop.customers": ["id", "name"]})
    assert access.columns("shop", "orders") is None
    assert access.columns("shop", "customers") == frozenset({"id", "name"})
    assert access.columns("shop", "salaries") == frozenset()
    assert Access().columns("shop", "salaries") is None


def test_the_connectors_own_database_is_the_only_schema() -> None:
    MySQLOptions.read({**_RIGHT, "access": {"schemas": ["shop"]}})
    for schemas in (["mysql"], []):
        with pytest.raises(InvalidRequest, match="database alone"):
            MySQLOptions.read({**_RIGHT, "access": {"schemas": schemas}})
