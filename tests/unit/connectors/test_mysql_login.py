"""A login that could act on the server is ruled out; one that could write is warned of (CON-3)."""

import pytest

from tenantry.connectors.mysql_login import judge

_USAGE = "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*ABC'"
_SELECT = "GRANT SELECT, SHOW VIEW ON `shop`.* TO `u`@`%`"


def test_a_login_that_only_reads_its_database_is_well() -> None:
    verdict = judge([_USAGE, _SELECT])
    assert verdict.refused == ()
    assert verdict.warnings == ()


@pytest.mark.parametrize(
    ("grant", "right"),
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION", "ALL PRIVILEGES"),
        ("GRANT SELECT, FILE ON *.* TO `u`@`%`", "FILE"),
        ("GRANT SELECT, SUPER ON *.* TO `u`@`%`", "SUPER"),
        ("GRANT SYSTEM_USER,CONNECTION_ADMIN ON *.* TO `u`@`%`", "SYSTEM_USER"),
        ("GRANT CREATE ROLE,DROP ROLE ON *.* TO `u`@`%`", "DROP ROLE"),
        ("GRANT CREATE USER ON *.* TO `u`@`%`", "CREATE USER"),
        ("GRANT READ_ONLY ADMIN ON *.* TO `u`@`%`", "READ_ONLY ADMIN"),
        ("GRANT USAGE ON *.* TO `u`@`%` WITH GRANT OPTION", "GRANT OPTION"),
        ("GRANT PROXY ON ''@'%' TO `u`@`%`", "PROXY"),
        ("grant  reload  on *.* to `u`@`%`", "RELOAD"),
    ],
)
@pytest.mark.req("CON-3")
def test_a_right_over_the_server_rules_a_login_out(grant: str, right: str) -> None:
    assert right in judge([grant]).refused


@pytest.mark.parametrize(
    ("grant", "named"),
    [
        ("GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`%`", "ALL PRIVILEGES"),
        ("GRANT SELECT, INSERT, UPDATE (`a`, `b`) ON `shop`.`t` TO `u`@`%`", "INSERT, UPDATE"),
        ("GRANT EXECUTE ON FUNCTION `shop`.`f` TO `u`@`%`", "EXECUTE"),
        ("GRANT SELECT ON `shop`.* TO `u`@`%` WITH GRANT OPTION", "GRANT OPTION"),
        ("GRANT PROCESS ON *.* TO `u`@`%`", "PROCESS"),
        ("GRANT DELETE ON *.* TO `u`@`%`", "DELETE"),
    ],
)
def test_a_right_to_do_more_than_read_is_warned_of(grant: str, named: str) -> None:
    verdict = judge([_USAGE, grant])
    assert verdict.refused == ()
    assert len(verdict.warnings) == 1
    assert named in verdict.warnings[0]


def test_a_login_that_reads_every_database_is_warned_of() -> None:
    (warning,) = judge(["GRANT SELECT ON *.* TO `u`@`%`"]).warnings
    assert "every database" in warning


def test_a_login_with_roles_is_warned_of() -> None:
    (warning,) = judge([_USAGE, _SELECT, "GRANT `analyst` TO `u`@`%`"]).warnings
    assert "roles" in warning


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT SELECT (`GRANT FILE ON *.* TO `) ON `shop`.`t` TO `u`@`%`",
        "GRANT SELECT ON `x, FILE ON *.* TO `.* TO `u`@`%`",
        "GRANT SELECT ON `shop`.* TO `WITH GRANT OPTION`@`%`",
    ],
)
def test_a_name_is_never_read_as_a_right(grant: str) -> None:
    verdict = judge([grant])
    assert verdict.refused == ()
    assert verdict.warnings == ()


def test_no_warning_repeats_what_the_server_says_of_the_password() -> None:
    for verdict in (judge([_USAGE]), judge([_USAGE.replace("USAGE", "INSERT")])):
        assert "ABC" not in "".join(verdict.warnings + verdict.refused)
