"""No tool has a place in which a model could name another tenant (SEC-3)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tenantry.tools.binding import Shape
from tenantry.tools.toolbox import _TOOLS, TOOL_NAMES

pytestmark = pytest.mark.req("SEC-3")

_FORBIDDEN = re.compile(
    r"(?<![a-z])(tenants?|orgs?|organi[sz]ations?|workspaces?|accounts?|roles?|users?|members?|"
    r"customers?|owners?|credentials?|passwords?|secrets?|tokens?|keys?|dsn|hosts?|ports?|urls?|"
    r"databases?|schemas?|connection strings?|ids?|uuids?|paths?|files?)(?![a-z])",
    re.IGNORECASE,
)
SHAPES = [Shape(tool.name, tool.run) for tool in _TOOLS]


def _words(name: str) -> str:
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").replace("-", " ")


def _properties(schema: Any, at: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every property, however deep: where it is, its name, its own schema."""
    if isinstance(schema, dict):
        for name, inner in schema.get("properties", {}).items():
            yield f"{at}.{name}", name, inner
        for key, inner in schema.items():
            yield from _properties(inner, f"{at}.{key}")
    if isinstance(schema, list):
        for inner in schema:
            yield from _properties(inner, at)


def test_every_tool_is_looked_at() -> None:
    assert TOOL_NAMES == (
        "search_documents",
        "list_data",
        "describe_data",
        "query_data",
        "describe_api",
        "call_api",
        "make_chart",
        "recall_verified_query",
    )
    assert [shape.spec.name for shape in SHAPES] == list(TOOL_NAMES)


@pytest.mark.parametrize("shape", SHAPES, ids=TOOL_NAMES)
def test_no_property_is_named_or_described_like_somebody_or_somewhere_else(shape: Shape) -> None:
    for where, name, schema in _properties(shape.spec.parameters, shape.spec.name):
        described = f"{_words(name)} {schema.get('description', '')} {schema.get('title', '')}"
        assert not _FORBIDDEN.search(described), where


@pytest.mark.parametrize(
    "name",
    ["tenant_id", "orgId", "as_user", "account", "role", "dsn", "host", "database", "workspaceId",
     "document_id", "file_path", "schema"],
)  # fmt: skip
def test_the_rule_would_notice_such_a_property(name: str) -> None:
    assert _FORBIDDEN.search(_words(name))


@pytest.mark.parametrize("shape", SHAPES, ids=TOOL_NAMES)
def test_every_schema_is_closed_and_bounded(shape: Shape) -> None:
    parameters: Any = shape.spec.parameters
    assert parameters["type"] == "object"
    assert parameters["additionalProperties"] is False
    assert "$defs" not in parameters
    for where, _, schema in _properties(parameters):
        assert schema["type"] in {"string", "integer", "boolean"}, where
        assert "description" in schema, where
        if schema["type"] != "boolean" and "enum" not in schema:
            bound = "maxLength" if schema["type"] == "string" else "maximum"
            assert schema[bound] > 0, where


@pytest.mark.parametrize("shape", SHAPES, ids=TOOL_NAMES)
def test_every_tool_says_what_it_does_in_one_line(shape: Shape) -> None:
    assert shape.spec.description.endswith(".")
    assert "\n" not in shape.spec.description
