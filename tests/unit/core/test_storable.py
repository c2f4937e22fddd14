"""Text that any text column can hold."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.storable import is_storable, storable, storable_json

ANY_TEXT = st.text(st.characters(), max_size=50)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(ANY_TEXT)
def test_what_comes_out_can_be_stored_and_what_could_be_is_unchanged(text: str) -> None:
    kept = storable(text)
    assert is_storable(kept)
    assert "\0" not in kept
    kept.encode()
    assert len(kept) == len(text)
    assert (kept == text) == is_storable(text)


@given(ANY_JSON)
def test_json_keeps_its_shape(value: object) -> None:
    kept = storable_json(value)  # type: ignore[arg-type]
    text = json.dumps(kept, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text.replace("\\\\", "")
    assert type(kept) is type(value)


def test_a_tuple_becomes_a_list() -> None:
    assert storable_json(("a\0", 1)) == ["a\ufffd", 1]
