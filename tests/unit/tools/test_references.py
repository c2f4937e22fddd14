"""References are numbers within one session, and say nothing about what they stand for."""

import re
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.tools.references import Kind, References

pytestmark = pytest.mark.req("SEC-3")


def test_the_same_thing_keeps_its_number_and_others_get_the_next() -> None:
    references = References()
    first, second = (uuid4(), 1), (uuid4(), 1)
    assert references.of("doc", first) == "doc:1"
    assert references.of("doc", second) == "doc:2"
    assert references.of("doc", first) == "doc:1"
    assert references.of("query", first) == "query:1"


def test_two_sessions_number_for_themselves() -> None:
    acme, globex = References(), References()
    assert acme.of("doc", "acme's") == globex.of("doc", "globex's") == "doc:1"


@given(st.lists(st.tuples(st.sampled_from(["doc", "query", "verified"]), st.integers(0, 9))))
def test_a_reference_names_one_thing_only(seen: list[tuple[Kind, int]]) -> None:
    references = References()
    given_out: dict[str, tuple[Kind, int]] = {}
    for kind, thing in seen:
        reference = references.of(kind, thing)
        assert given_out.setdefault(reference, (kind, thing)) == (kind, thing)
        assert re.fullmatch(rf"{kind}:[1-9][0-9]*", reference)
    assert len(given_out) == len(set(seen))
