"""What a sealed field is bound to, and that nothing of it is printed."""

import pickle
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tenantry.core.errors import SecretUnreadable
from tenantry.core.ids import TenantId
from tenantry.security.vault.envelope import (
    DataKey,
    SecretOwner,
    SecretPlace,
    associated_data,
    decrypt,
    encrypt,
)

KEY = bytes(range(32))
owners = st.builds(SecretOwner, st.sampled_from(["connector", "provider_account"]), st.uuids())
places = st.builds(
    SecretPlace,
    st.uuids().map(TenantId),
    owners,
    st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    st.integers(1, 2**31 - 1),
)
PLACE = SecretPlace(TenantId(UUID(int=1)), SecretOwner("connector", UUID(int=2)), "password", 3)


@pytest.mark.req("POOL-4")
@given(places, st.text(), st.integers(1, 2**31 - 1))
def test_a_field_opens_where_it_was_sealed(place: SecretPlace, text: str, version: int) -> None:
    key = DataKey(version, KEY)
    assert key.open(place, key.seal(place, text)) == text


@pytest.mark.req("POOL-4")
@settings(max_examples=1000)
@given(places, places)
def test_a_field_opens_at_no_other_place(place: SecretPlace, other: SecretPlace) -> None:
    assume(place != other)
    key = DataKey(1, KEY)
    sealed = key.seal(place, "secret")
    with pytest.raises(SecretUnreadable):
        key.open(other, sealed)


@pytest.mark.req("POOL-4")
@pytest.mark.parametrize(
    "other",
    [
        replace(PLACE, tenant=TenantId(UUID(int=9))),
        replace(PLACE, owner=SecretOwner("connector", UUID(int=9))),
        replace(PLACE, owner=SecretOwner("provider_account", UUID(int=2))),
        replace(PLACE, field="token"),
        replace(PLACE, version=4),
    ],
)
def test_each_part_of_the_place_is_bound_by_itself(other: SecretPlace) -> None:
    key = DataKey(1, KEY)
    with pytest.raises(SecretUnreadable):
        key.open(other, key.seal(PLACE, "secret"))


@pytest.mark.req("POOL-4")
def test_the_version_of_the_key_is_bound_even_for_equal_keys() -> None:
    with pytest.raises(SecretUnreadable):
        DataKey(2, KEY).open(PLACE, DataKey(1, KEY).seal(PLACE, "secret"))


@pytest.mark.req("POOL-4")
@given(st.binary(min_size=0, max_size=64), st.data())
def test_a_changed_shortened_or_lengthened_seal_does_not_open(
    plaintext: bytes, data: st.DataObject
) -> None:
    sealed = encrypt(KEY, plaintext, b"here")
    assert len(sealed) == len(plaintext) + 28
    place = data.draw(st.integers(0, len(sealed) - 1))
    mask = data.draw(st.integers(1, 255))
    changed = bytes(b ^ (mask if n == place else 0) for n, b in enumerate(sealed))
    for other in (changed, sealed[:place], sealed + b"x"):
        with pytest.raises(SecretUnreadable):
            decrypt(KEY, other, b"here")
    with pytest.raises(SecretUnreadable):
        decrypt(KEY, sealed, b"there")
    assert decrypt(KEY, sealed, b"here") == plaintext


@pytest.mark.req("POOL-4")
@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_parts_cannot_be_moved_into_their_neighbours(one: list[str], other: list[str]) -> None:
    assert (associated_data(*one) == associated_data(*other)) == (one == other)


@pytest.mark.req("POOL-4")
def test_one_text_is_sealed_differently_each_time() -> None:
    key = DataKey(1, KEY)
    assert len({key.seal(PLACE, "secret") for _ in range(100)}) == 100


@pytest.mark.req("POOL-4")
@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_only_keys_of_256_bits_are_taken(size: int) -> None:
    with pytest.raises(SecretUnreadable):
        DataKey(1, b"k" * size)


@pytest.mark.req("POOL-4")
def test_a_data_key_is_neither_printed_nor_serialised() -> None:
    key = DataKey(7, KEY)
    assert repr(key) == f"{key}" == "DataKey(version=7)"
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.req("POOL-4")
def test_an_error_of_the_cipher_carries_nothing_along() -> None:
    with pytest.raises(SecretUnreadable) as raised:
        decrypt(KEY, b"x" * 40, b"")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
