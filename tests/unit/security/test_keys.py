"""API keys: shape, checksum, digest."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import Forbidden, InvalidRequest
from tenantry.security.keys import ApiKey
from tenantry.security.scopes import ROLE_SCOPES, scopes_for_key


@pytest.mark.req("SEC-6")
def test_a_key_is_read_back_as_it_was_written() -> None:
    for _ in range(200):
        key = ApiKey.generate("live")
        assert ApiKey.parse(key.reveal()) == key
        assert key.secret not in repr(key)


@pytest.mark.req("SEC-6")
@given(st.integers(0, 57), st.characters(codec="ascii"))
def test_one_wrong_character_is_seen_by_the_checksum(position: int, character: str) -> None:
    text = ApiKey.generate("live").reveal()
    position %= len(text)
    changed = text[:position] + character + text[position + 1 :]
    if changed != text:
        assert ApiKey.parse(changed) is None


@given(st.text())
def test_other_text_is_no_key(text: str) -> None:
    assert ApiKey.parse(text) is None


def test_the_digest_needs_the_pepper() -> None:
    key = ApiKey.generate("operator")
    assert key.digest(b"a") == key.digest(b"a")
    assert key.digest(b"a") != key.digest(b"b")
    assert len(key.digest(b"a")) == 32


@pytest.mark.req("SEC-6")
def test_roles_are_nested_and_a_key_never_widens_its_role() -> None:
    order = ["viewer", "analyst", "admin", "owner"]
    for lower, higher in itertools.pairwise(order):
        assert ROLE_SCOPES[lower] <= ROLE_SCOPES[higher]
    assert scopes_for_key("viewer", None) == ROLE_SCOPES["viewer"]
    assert scopes_for_key("admin", ["chat"]) == {"chat"}
    with pytest.raises(Forbidden):
        scopes_for_key("viewer", ["keys:write"])
    with pytest.raises(InvalidRequest):
        scopes_for_key("owner", ["everything"])
