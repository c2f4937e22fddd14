"""Arguments are written into a request as the document says, and reach nothing else by it."""

from typing import Any

import pytest

from tenantry.connectors.openapi_parameters import Parameter, in_header, in_path, in_query
from tenantry.core.errors import QueryRefused

pytestmark = pytest.mark.req("CON-1")

LIST: list[Any] = ["blue", "black"]
OBJECT: dict[str, Any] = {"R": 100, "G": 200}


def parameter(place: str, style: str, explode: bool = False) -> Parameter:
    """A parameter called `color`."""
    return Parameter("color", "color", place, style, explode, True, {})


@pytest.mark.parametrize(
    ("style", "explode", "value", "written"),
    [
        # Source: OpenAPI Specification 3.1.1, section 4.8.12.5 (style examples).
        ("simple", False, "blue", "blue"),
        ("simple", False, LIST, "blue,black"),
        ("simple", False, OBJECT, "R,100,G,200"),
        ("simple", True, OBJECT, "R=100,G=200"),
        ("label", False, "blue", ".blue"),
        ("label", False, LIST, ".blue,black"),
        ("label", True, LIST, ".blue.black"),
        ("label", False, OBJECT, ".R,100,G,200"),
        ("label", True, OBJECT, ".R=100.G=200"),
        ("matrix", False, "blue", ";color=blue"),
        ("matrix", False, LIST, ";color=blue,black"),
        ("matrix", True, LIST, ";color=blue;color=black"),
        ("matrix", False, OBJECT, ";color=R,100,G,200"),
        ("matrix", True, OBJECT, ";R=100;G=200"),
        ("simple", False, True, "true"),
        ("simple", False, 1.5, "1.5"),
        ("simple", False, "a/b?c#d&e=f%", "a%2Fb%3Fc%23d%26e%3Df%25"),
        ("simple", False, "{id}", "%7Bid%7D"),
        ("simple", False, "ü", "%C3%BC"),
        ("json", False, OBJECT, "%7B%22R%22%3A100%2C%22G%22%3A200%7D"),
    ],
)
def test_a_path(style: str, explode: bool, value: Any, written: str) -> None:
    assert in_path(parameter("path", style, explode), value) == written


@pytest.mark.parametrize(
    ("style", "explode", "value", "written"),
    [
        ("form", True, "blue", ["color=blue"]),
        ("form", True, "", ["color="]),
        ("form", True, LIST, ["color=blue", "color=black"]),
        ("form", False, LIST, ["color=blue,black"]),
        ("form", True, OBJECT, ["R=100", "G=200"]),
        ("form", False, OBJECT, ["color=R,100,G,200"]),
        ("spaceDelimited", False, LIST, ["color=blue%20black"]),
        ("pipeDelimited", False, LIST, ["color=blue%7Cblack"]),
        ("deepObject", True, OBJECT, ["color%5BR%5D=100", "color%5BG%5D=200"]),
        ("form", True, "a&b=c", ["color=a%26b%3Dc"]),
        ("form", True, "a b+c", ["color=a%20b%2Bc"]),
        ("form", True, {"a&x": "1"}, ["a%26x=1"]),
        ("json", False, LIST, ["color=%5B%22blue%22%2C%22black%22%5D"]),
    ],
)
def test_a_query(style: str, explode: bool, value: Any, written: list[str]) -> None:
    assert in_query(parameter("query", style, explode), value) == written


@pytest.mark.parametrize(
    ("explode", "value", "written"),
    [
        (False, "blue", "blue"),
        (False, LIST, "blue,black"),
        (False, OBJECT, "R,100,G,200"),
        (True, OBJECT, "R=100,G=200"),
    ],
)
def test_a_header(explode: bool, value: Any, written: str) -> None:
    assert in_header(parameter("header", "simple", explode), value) == written


@pytest.mark.req("CON-4")
@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "../admin", "a/../../b", "..\\x", "x/.", [], ["a", ".."], {"a": "../x"}],
)
def test_no_argument_climbs_the_path(value: Any) -> None:
    with pytest.raises(QueryRefused, match="no part of a path"):
        in_path(parameter("path", "simple"), value)


@pytest.mark.req("CON-4")
@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "\x00", "ü", ["a\r\n"], {"a": "\n"}])
def test_no_argument_ends_a_header(value: Any) -> None:
    with pytest.raises(QueryRefused, match="header"):
        in_header(parameter("header", "simple"), value)
