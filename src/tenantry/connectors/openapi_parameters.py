"""Parameters in path, query and header: read from a document, written into a request (CON-1).

Source: OpenAPI Specification 3.1.1, section 4.8.12 (styles), RFC 6570 (what they stand for).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from tenantry.connectors.openapi_schema import (
    Resolver,
    Schema,
    Unreadable,
    clean,
    is_plain_name,
    reduce,
)
from tenantry.core.errors import QueryRefused
from tenantry.core.events import Json

_MOST = 100
_STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
}
_BETWEEN = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"}
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110, 5.6.2
# Headers that say who asks, where, or how the message is framed: never an argument.
_OURS = re.compile(
    r"(?:accept|accept-encoding|authorization|connection|content-.*|cookie|date|expect|forwarded|"
    r"host|keep-alive|origin|proxy-.*|referer|sec-.*|te|trailer|transfer-encoding|upgrade|"
    r"user-agent|via|x-forwarded-.*|x-http-method.*|x-method-override|x-original-.*|x-real-ip|"
    r"x-rewrite-.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation.

    Attributes:
        key: its name among the arguments: its own, or with its place before it.
        name: as the API knows it.
        place: `path`, `query` or `header`.
        style: how lists and objects are written; `json` for a text of JSON.
        explode: whether each item of a list is written with the name anew.
        required: whether the API must have it.
        schema: closed schema of its value.
    """

    key: str
    name: str
    place: str
    style: str
    explode: bool
    required: bool
    schema: Schema


def parameters_of(
    resolver: Resolver, path: str, nodes: Sequence[Mapping[str, Json]]
) -> tuple[Parameter, ...]:
    """The parameters of a path's item and of its operation; the operation's own win.

    Raises:
        Unreadable: one that the API must have cannot be filled.
    """
    found: dict[tuple[str, str], Mapping[str, Json]] = {}
    for node in nodes:
        listed = node.get("parameters")
        for given in listed if isinstance(listed, list) else ():
            parameter, _ = resolver.look(given)
            found[str(parameter.get("in")), str(parameter.get("name"))] = parameter
    if len(found) > _MOST:
        raise Unreadable("it has too many parameters")
    read: dict[str, Parameter] = {}
    for node in found.values():
        try:
            parameter_read = _parameter(resolver, node, read)
            read[parameter_read.key] = parameter_read
        except Unreadable:
            if node.get("required") is True or node.get("in") == "path":
                raise
    in_path = {each.name for each in read.values() if each.place == "path"}
    if set(re.findall(r"\{([^}]*)\}", path)) != in_path:
        raise Unreadable("the parameters of its path are not declared")
    return tuple(read.values())


def written(parameter: Parameter) -> dict[str, Json]:
    """The parameter as an OpenAPI document says it."""
    node: dict[str, Json] = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
    }
    if parameter.style == "json":
        return {**node, "content": {"application/json": {"schema": parameter.schema}}}
    style: dict[str, Json] = {"style": parameter.style, "explode": parameter.explode}
    return {**node, **style, "schema": parameter.schema}


def _parameter(
    resolver: Resolver, node: Mapping[str, Json], taken: Mapping[str, Parameter]
) -> Parameter:
    name, place = node.get("name"), node.get("in")
    if not isinstance(name, str) or not is_plain_name(name):
        raise Unreadable("a parameter has no readable name")
    if place not in _STYLES or not isinstance(place, str):
        raise Unreadable(f"its parameter {clean(name, 40)} is in no path, query or header")
    if place == "header" and (not _TOKEN.fullmatch(name) or _OURS.fullmatch(name)):
        raise Unreadable(f"its header {clean(name, 40)} is no argument")
    style, explode, schema_node = _styled(node, place)
    schema = reduce(resolver, schema_node)
    if (description := clean(node.get("description"))) and "description" not in schema:
        schema["description"] = description
    key = name if name not in taken and name != "body" else f"{place}_{name}"
    if key in taken:
        raise Unreadable(f"its parameter {clean(name, 40)} is there twice")
    is_required = place == "path" or node.get("required") is True
    return Parameter(key, name, place, style, explode, is_required, schema)


def _styled(node: Mapping[str, Json], place: str) -> tuple[str, bool, Json]:
    content = node.get("content")
    if isinstance(content, Mapping):
        media = content.get("application/json")
        if not isinstance(media, Mapping):
            raise Unreadable("a parameter has content that is not JSON")
        return "json", False, media.get("schema", True)
    style = node.get("style", _STYLES[place][0])
    if not isinstance(style, str) or style not in _STYLES[place]:
        raise Unreadable("a parameter has an unknown style")
    explode = node.get("explode", style in {"form", "deepObject"})
    return style, explode is True, node.get("schema", True)


def in_path(parameter: Parameter, value: Json) -> str:
    """The text that stands for `{name}`, percent-encoded.

    Raises:
        QueryRefused: it is empty, or a step up or down the path.
    """
    plain = [_text(each) for each in _flat(value)]
    if not any(plain) or any(
        step in {".", ".."} for text in plain for step in re.split(r"[/\\]", text)
    ):
        raise QueryRefused(f"The argument {parameter.key} is no part of a path.")
    if parameter.style == "json":
        return _encoded(_text(value, as_json=True))
    is_object, name = isinstance(value, Mapping), _encoded(parameter.name)
    if parameter.style == "simple":
        return ",".join(_pairs(value, "=" if parameter.explode else ","))
    if parameter.style == "label":
        return "." + ("." if parameter.explode else ",").join(
            _pairs(value, "=" if parameter.explode else ",")
        )
    if parameter.explode and is_object:
        return "".join(f";{pair}" for pair in _pairs(value, "="))
    if parameter.explode and isinstance(value, list):
        return "".join(f";{name}={pair}" for pair in _pairs(value, "="))
    return f";{name}=" + ",".join(_pairs(value, ","))


def in_query(parameter: Parameter, value: Json) -> list[str]:
    """The `name=value` texts of a query, percent-encoded."""
    name = _encoded(parameter.name)
    if parameter.style == "json":
        return [f"{name}={_encoded(_text(value, as_json=True))}"]
    if isinstance(value, Mapping):
        if parameter.style == "deepObject":
            return [
                f"{name}%5B{_encoded(key)}%5D={_encoded(_text(each))}"
                for key, each in value.items()
            ]
        if parameter.explode:
            return _pairs(value, "=")
    if isinstance(value, list) and parameter.explode:
        return [f"{name}={pair}" for pair in _pairs(value, "=")]
    between = _BETWEEN.get(parameter.style, ",")
    return [f"{name}={between.join(_pairs(value, between))}"]


def in_header(parameter: Parameter, value: Json) -> str:
    """The value of a header.

    Raises:
        QueryRefused: it holds what could end the header.
    """
    if parameter.style == "json":
        text = orjson.dumps(value).decode()
    else:
        equals = "=" if parameter.explode else ","
        pairs = value.items() if isinstance(value, Mapping) else ()
        text = ",".join(f"{key}{equals}{_text(each)}" for key, each in pairs) or ",".join(
            _text(each) for each in _flat(value)
        )
    if not text.isprintable() or not text.isascii():
        raise QueryRefused(f"The argument {parameter.key} cannot be sent in a header.")
    return text


def _pairs(value: Json, equals: str) -> list[str]:
    """Items of a list, or names with values, each percent-encoded; of anything else, itself."""
    if isinstance(value, Mapping):
        return [f"{_encoded(key)}{equals}{_encoded(_text(each))}" for key, each in value.items()]
    return [_encoded(_text(each)) for each in _flat(value)]


def _flat(value: Json) -> Sequence[Json]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def _text(value: Json, *, as_json: bool = False) -> str:
    if as_json or isinstance(value, bool | Mapping | list) or value is None:
        return "" if value is None and not as_json else orjson.dumps(value).decode()
    return str(value)


def _encoded(text: str) -> str:
    return quote(text, safe="")
