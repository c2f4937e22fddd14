"""What a model may write is exactly a method's parameters: schema and validation are one thing."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.tools.base import ToolResult
from tenantry.tools.binding import ArgumentsRefused, Bound, Shape, UnknownArguments, plain

pytestmark = pytest.mark.req("SEC-3")


class Look:
    """A capability with a parameter of each kind."""

    name = "look"

    def __init__(self, owner: str) -> None:
        self._owner = owner

    async def run(
        self,
        what: Annotated[str, Field(min_length=1, max_length=20, description="What to look for")],
        limit: Annotated[int, Field(ge=1, le=20)] = 5,
        *,
        exact: bool = False,
    ) -> ToolResult:
        """Look something up."""
        return ToolResult([self._owner, what, limit, exact], "test")


class Nothing:
    """A capability without parameters."""

    name = "nothing"

    async def run(self) -> ToolResult:
        """Do nothing."""
        return ToolResult(None, "test")


def test_the_schema_is_the_signature_and_closed() -> None:
    spec = Bound(Look("acme")).spec
    assert (spec.name, spec.description) == ("look", "Look something up.")
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "what": {
                "type": "string",
                "minLength": 1,
                "maxLength": 20,
                "description": "What to look for",
            },
            "limit": {"type": "integer", "minimum": 1, "maximum": 20, "default": 5},
            "exact": {"type": "boolean", "default": False},
        },
        "required": ["what"],
        "additionalProperties": False,
    }
    assert Bound(Nothing()).spec.parameters == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


def test_a_shape_made_of_the_class_is_that_of_a_bound_capability() -> None:
    assert Shape("look", Look.run).spec == Bound(Look("acme")).spec


async def test_one_shape_serves_many_sessions_and_keeps_them_apart() -> None:
    shape = Shape("look", Look.run)
    acme, globex = Bound(Look("acme"), shape), Bound(Look("globex"), shape)
    assert (await acme.run({"what": "x"})).content == ["acme", "x", 5, False]
    assert (await globex.run({"what": "x", "limit": 2})).content == ["globex", "x", 2, False]


@pytest.mark.parametrize(
    "extra",
    [
        "tenant_id", "tenant", "as_user", "org", "schema", "dsn", "self", "owner", "_owner", "ctx",
        "WHAT", "what ", "__class__", "model_config", "",
    ],
)  # fmt: skip
async def test_an_argument_that_the_tool_does_not_have_is_refused_by_name(extra: str) -> None:
    with pytest.raises(UnknownArguments) as refused:
        await Bound(Look("acme")).run({"what": "x", extra: "globex"})
    assert refused.value.names == (extra,)
    assert refused.value.code == "unknown_arguments"
    assert "globex" not in refused.value.message


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"what": None},
        {"what": 1},
        {"what": ["x"]},
        {"what": {"x": 1}},
        {"what": ""},
        {"what": "x" * 21},
        {"what": "x", "limit": "5"},
        {"what": "x", "limit": 5.0},
        {"what": "x", "limit": True},
        {"what": "x", "limit": 0},
        {"what": "x", "limit": 21},
        {"what": "x", "limit": None},
        {"what": "x", "exact": "true"},
        {"what": "x", "exact": 1},
    ],
)
async def test_an_argument_of_another_type_or_size_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsRefused) as refused:
        await Bound(Look("acme")).run(arguments)
    assert not isinstance(refused.value, UnknownArguments)
    assert isinstance(refused.value, InvalidRequest)
    assert refused.value.message


async def test_an_invented_argument_is_noticed_among_other_mistakes() -> None:
    with pytest.raises(UnknownArguments):
        await Bound(Look("acme")).run({"what": 1, "tenant_id": "x"})


async def test_a_refusal_quotes_hostile_names_short_printable_and_few() -> None:
    names = [f"{number}\n\x00\x1b[2J" + "x" * 500 for number in range(50)]
    with pytest.raises(UnknownArguments) as refused:
        await Bound(Look("acme")).run({"what": "x", **dict.fromkeys(names, 1)})
    assert len(refused.value.names) == 8
    assert len(refused.value.message) < 700
    assert refused.value.message.isprintable()


_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["what", "limit", "exact", "tenant_id"]) | st.text(), _JSON))
def test_what_is_accepted_fits_the_schema_that_was_shown(arguments: Mapping[str, Json]) -> None:
    shape = Shape("look", Look.run)
    try:
        checked = shape.check(arguments)
    except ArgumentsRefused:
        return
    assert set(arguments) <= {"what", "limit", "exact"}
    assert set(checked) == {"what", "limit", "exact"}
    assert isinstance(checked["what"], str)
    assert 1 <= len(checked["what"]) <= 20
    assert type(checked["limit"]) is int
    assert 1 <= checked["limit"] <= 20
    assert type(checked["exact"]) is bool


@given(st.text())
def test_a_name_is_made_short_and_printable(name: str) -> None:
    shown = plain(name)
    assert len(shown) <= 61
    assert shown.isprintable()
    assert json.loads(json.dumps(shown)) == shown
    if name.isprintable() and len(name) <= 60:
        assert shown == name
