"""Named queries: all SQL stands in files, under names."""

import pytest

from tenantry.core.errors import StartupRefused
from tenantry.db.queries import parse


def test_blocks_are_found_by_name_without_their_comments() -> None:
    queries = parse(
        "-- a file\n-- name: one\n-- Rows: x.\nSELECT 1;\n\n-- name: two\nSELECT\n  -- why\n  2;\n"
    )
    assert dict(queries) == {"one": b"SELECT 1", "two": b"SELECT\n  2"}
    assert len(queries) == 2
    with pytest.raises(KeyError):
        queries["three"]


@pytest.mark.parametrize(
    "text", ["SELECT 1;\n-- name: one\nSELECT 2;", "-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;"]
)
def test_stray_sql_and_a_name_given_twice_are_refused(text: str) -> None:
    with pytest.raises(StartupRefused):
        parse(text)
