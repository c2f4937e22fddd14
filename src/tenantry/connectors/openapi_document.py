"""Reads an OpenAPI 3.0 or 3.1 document into the operations that a connector may offer (CON-1).

What was read is written back as a small document of its own: no references, closed schemas, only
what is offered. That is what is stored: it cannot change behind the administrator's back, and
reading it again gives the same. Source: OpenAPI Specification 3.1.1, sections 4.7 and 4.8.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from tenantry.connectors.openapi_parameters import Parameter, parameters_of, written
from tenantry.connectors.openapi_schema import (
    Resolver,
    Schema,
    Unreadable,
    clean,
    is_plain_name,
    reduce,
)
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json

MOST_BYTES = 4 * 1024 * 1024
MOST_OPERATIONS = 200
_MOST_DEPTH = 64
_MOST_PATHS = 10_000
_METHODS = ("get", "head", "post", "put", "patch", "delete")
_READS = frozenset({"get", "head"})
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|\{[A-Za-z0-9._-]{1,64}\})*)+")
_NOT_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST_LEFT_OUT = 50
_JSON_BODY = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json(?:;.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One call, as the document says; nothing is withheld yet.

    Attributes:
        name: its `operationId`, or made of method and path.
        method: in capitals.
        path: with `{name}` for parameters; starts with a slash.
        description: untrusted text, cleaned and bounded.
        parameters: those in path, query and header.
        body: closed schema of its JSON body; None when it takes none.
        body_required: whether it must have one.
    """

    name: str
    method: str
    path: str
    description: str
    parameters: tuple[Parameter, ...]
    body: Schema | None = None
    body_required: bool = False

    @property
    def effect(self) -> Literal["read", "write"]:
        """What its method says: only GET and HEAD are safe (RFC 9110, 9.2.1)."""
        return "read" if self.method.lower() in _READS else "write"

    @property
    def arguments(self) -> Schema:
        """Closed schema of all its arguments: parameters by their keys, and `body`."""
        properties: Schema = {each.key: each.schema for each in self.parameters}
        required: list[Json] = [each.key for each in self.parameters if each.required]
        if self.body is not None:
            properties["body"] = self.body
            required += ["body"] if self.body_required else []
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """What was read of a document.

    Attributes:
        title: of the API, cleaned.
        server: the base URL it names first; empty if it names none, or a relative one.
        operations: those chosen, by name.
        left_out: operations chosen of which nothing can be made, and why.
    """

    title: str
    server: str
    operations: Mapping[str, ApiOperation]
    left_out: Mapping[str, str]

    def written(self) -> dict[str, Json]:
        """It as an OpenAPI document; `read` gives the same again."""
        paths: dict[str, dict[str, Json]] = {}
        for operation in self.operations.values():
            paths.setdefault(operation.path, {})[operation.method.lower()] = _written(operation)
        document: dict[str, Json] = {
            "openapi": "3.1.0",
            "info": {"title": self.title, "version": "1"},
            "paths": paths,
        }
        return {**document, "servers": [{"url": self.server}]} if self.server else document


@dataclass(frozen=True, slots=True)
class _Found:
    """An operation that was not looked into yet."""

    name: str
    method: str
    path: str
    item: Mapping[str, Json]
    node: Mapping[str, Json]


def parse(document: Json) -> Mapping[str, Json]:
    """The document, given as a JSON object or as its text.

    Raises:
        InvalidRequest: it is no JSON object, too large, or nested too deeply.
    """
    if isinstance(document, str | bytes):
        if len(document) > MOST_BYTES:
            raise InvalidRequest(f"The document has more than {MOST_BYTES >> 20} MiB.")
        try:
            document = orjson.loads(document)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            raise InvalidRequest(
                "The document is no JSON. A document in YAML must be converted first."
            ) from None
    if not isinstance(document, Mapping):
        raise InvalidRequest("The document is no JSON object.")
    if is_deep(document):
        raise InvalidRequest(f"The document is nested more than {_MOST_DEPTH} deep.")
    return document


def read(given: Json, allow: Sequence[str] | None = None) -> ApiDocument:
    """The operations of a document.

    Args:
        given: the document, or its text.
        allow: names of the operations wanted; None is every one that only reads.

    Raises:
        InvalidRequest: it is no such document, an operation named is not in it, or it has too many.
    """
    document = parse(given)
    version = document.get("openapi")
    if not isinstance(version, str) or not re.fullmatch(r"3\.[01](\.\d+)?", version):
        raise InvalidRequest("The document is not of OpenAPI 3.0 or 3.1.")
    resolver = Resolver(document)
    left_out: dict[str, str] = {}
    found = {each.name: each for each in _operations(resolver, left_out)}
    if allow is None:
        chosen = [name for name, each in found.items() if each.method in _READS]
    else:
        chosen = list(dict.fromkeys(allow))
        if missing := [name for name in chosen if name not in found]:
            raise InvalidRequest(f"The document has no operation {clean(missing[0], 80)!r}.")
    if len(chosen) > MOST_OPERATIONS:
        raise InvalidRequest(
            f"These are {len(chosen)} operations; name at most {MOST_OPERATIONS} in operations."
        )
    operations: dict[str, ApiOperation] = {}
    for name in chosen:
        try:
            operations[name] = _operation(resolver, found[name])
        except Unreadable as error:
            left_out[name] = str(error)
    info = document.get("info")
    title = clean(info.get("title"), 100) if isinstance(info, Mapping) else ""
    few = dict(list(left_out.items())[:_MOST_LEFT_OUT])
    return ApiDocument(title, _server(document), operations, few)


def _operations(resolver: Resolver, left_out: dict[str, str]) -> Iterator[_Found]:
    """Every operation, in the document's order; names are its first bearers'."""
    paths = resolver.document.get("paths")
    if not isinstance(paths, Mapping):
        raise InvalidRequest("The document has no paths.")
    if len(paths) > _MOST_PATHS:
        raise InvalidRequest(f"The document has more than {_MOST_PATHS} paths.")
    taken: set[str] = set()
    for path, item in paths.items():
        if not isinstance(item, Mapping):
            continue
        is_fit = bool(_PATH.fullmatch(path)) and not _climbs(path)
        for method in _METHODS:
            node = item.get(method)
            if not isinstance(node, Mapping):
                continue
            name = _name(node, method, path)
            if name in taken or not is_fit:
                where = clean(f"{method.upper()} {path}", 100)
                left_out[where] = "another has its name" if is_fit else "its path is unfit"
                continue
            taken.add(name)
            yield _Found(name, method, path, item, node)


def _name(node: Mapping[str, Json], method: str, path: str) -> str:
    given = node.get("operationId")
    if is_plain_name(given) and isinstance(given, str) and not _NOT_NAME.search(given):
        return given
    return _NOT_NAME.sub("_", f"{method}{path}").strip("_")[:64]


def _operation(resolver: Resolver, found: _Found) -> ApiOperation:
    said = clean(found.node.get("summary")), clean(found.node.get("description"))
    body, is_required = _body(resolver, found)
    return ApiOperation(
        name=found.name,
        method=found.method.upper(),
        path=found.path,
        description=clean(" ".join(dict.fromkeys(text for text in said if text))),
        parameters=parameters_of(resolver, found.path, [found.item, found.node]),
        body=body,
        body_required=is_required,
    )


def _body(resolver: Resolver, found: _Found) -> tuple[Schema | None, bool]:
    given = found.node.get("requestBody")
    if given is None or found.method in _READS:
        return None, False
    node, _ = resolver.look(given)
    is_required = node.get("required") is True
    content = node.get("content")
    for kind, media in (content if isinstance(content, Mapping) else {}).items():
        if _JSON_BODY.fullmatch(kind) and isinstance(media, Mapping):
            return reduce(resolver, media.get("schema", True)), is_required
    if is_required:
        raise Unreadable("its body is not JSON")
    return None, False


def _written(operation: ApiOperation) -> dict[str, Json]:
    node: dict[str, Json] = {
        "operationId": operation.name,
        "description": operation.description,
        "parameters": [written(parameter) for parameter in operation.parameters],
    }
    if operation.body is not None:
        content: Json = {"application/json": {"schema": operation.body}}
        node["requestBody"] = {"required": operation.body_required, "content": content}
    return node


def _server(document: Mapping[str, Json]) -> str:
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    url = first.get("url") if isinstance(first, Mapping) else None
    is_absolute = isinstance(url, str) and url.startswith(("https://", "http://"))
    return url if isinstance(url, str) and is_absolute and "{" not in url else ""


def _climbs(path: str) -> bool:
    return any(step in {".", ".."} for step in path.split("/"))


def is_deep(document: Json) -> bool:
    """Whether a document is nested deeper than is followed; without recursion of its own."""
    level: list[Json] = [document]
    for _ in range(_MOST_DEPTH):
        level = [inner for node in level for inner in _inside(node)]
        if not level:
            return False
    return True


def _inside(node: Json) -> list[Json]:
    if isinstance(node, Mapping):
        return [inner for inner in node.values() if isinstance(inner, dict | list)]
    return [inner for inner in node if isinstance(inner, dict | list)]  # type: ignore[union-attr]
