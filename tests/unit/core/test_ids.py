"""Ids: time-ordered, and recognised in canonical form only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.ids import PLATFORM, new_id, parse_id


def test_ids_are_version_7_and_in_order_of_their_making() -> None:
    ids = [new_id() for _ in range(1000)]
    assert all(i.version == 7 for i in ids)
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


@given(st.uuids())
def test_an_id_survives_being_written_and_read(value: object) -> None:
    assert parse_id(str(value)) == value


@pytest.mark.parametrize(
    "text",
    ["", "x", "1", "{00000000-0000-0000-0000-000000000000}", "urn:uuid:" + str(PLATFORM), "0" * 32],
)
def test_other_spellings_are_no_ids(text: str) -> None:
    assert parse_id(text) is None
