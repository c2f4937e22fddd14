"""A server's error is the member's and the model's business, its login is not (CON-2)."""

import pytest

from tenantry.connectors.mysql_errors import translated
from tenantry.connectors.mysql_packets import ServerRefused
from tenantry.core.errors import QueryFailed, QueryTimeout, SourceUnreachable


@pytest.mark.parametrize("code", [1044, 1045, 1049, 1130, 1698, 1040, 1129])
def test_a_refused_login_is_told_in_our_own_words(code: int) -> None:
    error = translated(ServerRefused(code, "28000", "Access denied for 'acme'@'10.1.2.3'"))
    assert isinstance(error, SourceUnreachable)
    assert "10.1.2.3" not in error.message


@pytest.mark.parametrize("code", [1317, 1969, 3024])
def test_a_statement_that_was_stopped_took_too_long(code: int) -> None:
    assert isinstance(translated(ServerRefused(code, "70100", "interrupted")), QueryTimeout)


def test_a_mistake_in_the_query_is_told_as_the_server_tells_it() -> None:
    error = translated(ServerRefused(1054, "42S22", "Unknown column 'x' in 'SELECT'"))
    assert type(error) is QueryFailed
    assert "Unknown column 'x'" in error.message


def test_a_servers_text_becomes_one_short_printable_line() -> None:
    error = translated(ServerRefused(1105, "HY000", "a\nb\x1b[31m" + "c" * 1000))
    assert "\n" not in error.message
    assert "\x1b" not in error.message
    assert len(error.message) < 400


def test_a_server_that_says_nothing_is_told_so() -> None:
    assert "does not say why" in translated(ServerRefused(1105, "", "")).message


def test_a_write_is_told_to_be_one() -> None:
    assert "only reads" in translated(ServerRefused(1792, "25006", "read only")).message
