"""Cursors: sealed to a tenant and a list."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import InvalidRequest
from tenantry.security.cursors import START, Cursors

CURSORS = Cursors(b"k" * 32)


@pytest.mark.req("USE-2")
@given(st.uuids(), st.uuids())
def test_a_cursor_is_read_back_by_its_own_tenant_and_list(owner: UUID, last: UUID) -> None:
    cursor = CURSORS.write(owner, "members", last)
    assert CURSORS.read_id(owner, "members", cursor) == last
    assert CURSORS.read_id(owner, "members", None) == START


@pytest.mark.req("USE-2", "SEC-4")
@given(st.uuids(), st.uuids(), st.uuids())
def test_a_cursor_of_another_tenant_list_or_key_is_refused(
    owner: UUID, other: UUID, last: UUID
) -> None:
    cursor = CURSORS.write(owner, "members", last)
    if other != owner:
        with pytest.raises(InvalidRequest):
            CURSORS.read(other, "members", cursor)
    with pytest.raises(InvalidRequest):
        CURSORS.read(owner, "keys", cursor)
    with pytest.raises(InvalidRequest):
        Cursors(b"x" * 32).read(owner, "members", cursor)


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        CURSORS.read(START, "members", text)


def test_a_page_shows_the_limit_and_says_whether_there_is_more() -> None:
    rows = [{"id": UUID(int=n)} for n in range(1, 4)]
    page = CURSORS.page(START, "x", rows, 2, lambda row: row["id"])
    assert page["data"] == rows[:2]
    assert page["has_more"]
    assert CURSORS.read_id(START, "x", page["next_cursor"]) == UUID(int=2)
    last = CURSORS.page(START, "x", rows[2:], 2, lambda row: row["id"])
    assert (last["has_more"], last["next_cursor"]) == (False, None)
