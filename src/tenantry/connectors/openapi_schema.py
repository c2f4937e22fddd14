"""Reduces schemas of an OpenAPI document to closed JSON Schemas (CON-2, SEC-3).

Threat: a stranger's document that never ends (references in circles), grows without bound when its
references are resolved, hides instructions in its texts, or runs a regular expression of its own.
Invariant: what comes out is small, refers to nothing, knows a fixed set of keywords, and allows no
property that it does not name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.core.storable import is_storable

Schema = dict[str, Json]

_MOST_DEPTH = 12
_MOST_NODES = 20_000  # looked at in one document: 200 operations of 100 parameters each
_MOST_PROPERTIES = 100
_MOST_CHOICES = 200
_MOST_BYTES = 16_384  # of one schema: about what a model can still read
_DESCRIPTION_CHARS = 300
_NAME_CHARS = 64
# `pattern` is left out on purpose: a stranger's regular expression could keep us busy for ever.
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_SIZES = ("minLength", "maxLength", "minItems", "maxItems")
_TYPES = ("string", "integer", "number", "boolean", "null", "object", "array")
_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")


class Unreadable(Exception):
    """A part of a document that no schema can be made of; the text says why."""


def clean(text: Json, most: int = _DESCRIPTION_CHARS) -> str:
    """A stranger's text on one line, without what is not seen, bounded: still untrusted."""
    if not isinstance(text, str):
        return ""
    shown = " ".join(_CONTROL.sub(" ", text[: 4 * most]).split())
    shown = "".join(c if c.isprintable() else "?" for c in shown)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def is_plain_name(name: Json) -> bool:
    """Whether a name can be shown and stored as it is."""
    return isinstance(name, str) and 0 < len(name) <= _NAME_CHARS and clean(name) == name


@dataclass(slots=True)
class Resolver:
    """Follows the references of one document, and counts what it looked at."""

    document: Mapping[str, Json]
    nodes: int = 0

    def look(self, node: Json, seen: tuple[str, ...] = ()) -> tuple[Mapping[str, Json], list[str]]:
        """The object that a node is or refers to, and the references that led to it.

        Raises:
            Unreadable: it is none, refers out of the document, to nothing, or in a circle.
            InvalidRequest: the document as a whole is too much.
        """
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise InvalidRequest("The document is too large; choose fewer operations.")
        trail = list(seen)
        while isinstance(node, Mapping) and "$ref" in node:
            reference = node["$ref"]
            if not isinstance(reference, str) or not reference.startswith("#/"):
                raise Unreadable("it refers to another document")
            if reference in trail:
                raise Unreadable("it contains itself")
            trail.append(reference)
            node = self._at(reference)
        if not isinstance(node, Mapping):
            raise Unreadable("a part of it is no object")
        return node, trail

    def _at(self, reference: str) -> Json:
        node: Json = self.document
        for step in reference[2:].split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, Mapping) or key not in node:
                raise Unreadable("it refers to something that is not there")
            node = node[key]
        return node


def reduce(resolver: Resolver, node: Json) -> Schema:
    """The closed schema of a parameter or body; of recursive types, the part before the circle.

    Raises:
        Unreadable: nothing can be made of it, or it is too large for a model.
        InvalidRequest: the document as a whole is too much.
    """
    reduced = _Reduction(resolver).schema(node, (), 0)
    if len(orjson.dumps(reduced)) > _MOST_BYTES:
        raise Unreadable("its schema is too large")
    return reduced


@dataclass(frozen=True, slots=True)
class _Reduction:
    resolver: Resolver

    def schema(self, node: Json, seen: tuple[str, ...], depth: int) -> Schema:
        if depth > _MOST_DEPTH:
            raise Unreadable("it is nested too deeply")
        if node is True:
            return dict(_SCALAR)
        found, trail = self.resolver.look(node, seen)
        merged, trail = self._with_all_of(found, trail)
        inside = tuple(trail)
        choices = _listed(merged.get("anyOf")) or _listed(merged.get("oneOf"))
        if choices:
            return self._any_of(merged, choices, inside, depth)
        return self._plain(merged, inside, depth)

    def _with_all_of(
        self, node: Mapping[str, Json], trail: list[str]
    ) -> tuple[Mapping[str, Json], list[str]]:
        """The node with the parts of its `allOf` in it: closed parts would exclude each other."""
        merged: Schema = {key: value for key, value in node.items() if key != "allOf"}
        whole = list(trail)
        for part in _listed(node.get("allOf")):
            found, inner = self._with_all_of(*self.resolver.look(part, tuple(trail)))
            merged = _merged(found, merged)
            whole += [reference for reference in inner if reference not in whole]
        return merged, whole

    def _any_of(
        self, node: Mapping[str, Json], choices: Sequence[Json], seen: tuple[str, ...], depth: int
    ) -> Schema:
        rest = {key: value for key, value in node.items() if key not in {"anyOf", "oneOf"}}
        kept: list[Json] = []
        for choice in choices[:_MOST_CHOICES]:
            try:
                found, trail = self.resolver.look(choice, seen)
                kept.append(self.schema(_merged(rest, found), tuple(trail), depth + 1))
            except Unreadable:
                continue  # a way to fill it that is not offered
        if not kept:
            raise Unreadable("none of its choices can be read")
        description = clean(node.get("description"))
        return {"anyOf": kept, "description": description} if description else {"anyOf": kept}

    def _plain(self, node: Mapping[str, Json], seen: tuple[str, ...], depth: int) -> Schema:
        types = _types(node)
        reduced: Schema = dict(_SCALAR)
        if types:
            reduced["type"] = types[0] if len(types) == 1 else list(types)
        reduced |= _said(node)
        if "object" in types:
            reduced |= self._object(node, seen, depth)
        if "array" in types:
            reduced |= self._array(node, seen, depth)
        return reduced

    def _object(self, node: Mapping[str, Json], seen: tuple[str, ...], depth: int) -> Schema:
        named = node.get("properties")
        required = {name for name in _listed(node.get("required")) if isinstance(name, str)}
        properties: Schema = {}
        for name, inner in (named if isinstance(named, Mapping) else {}).items():
            if isinstance(inner, Mapping) and inner.get("readOnly") is True:
                required.discard(name)
                continue
            try:
                if not is_plain_name(name) or len(properties) == _MOST_PROPERTIES:
                    raise Unreadable("it has too many or unreadable properties")
                properties[name] = self.schema(inner, seen, depth + 1)
            except Unreadable:
                if name in required:
                    raise
        closed: Schema = {"properties": properties, "additionalProperties": False}
        if needed := sorted(required & properties.keys()):
            closed["required"] = list(needed)
        more = node.get("additionalProperties")
        if isinstance(more, Mapping) and more:
            try:
                closed["additionalProperties"] = self.schema(more, seen, depth + 1)
                closed["propertyNames"] = {"maxLength": _NAME_CHARS}
            except Unreadable:
                closed["additionalProperties"] = False
        return closed

    def _array(self, node: Mapping[str, Json], seen: tuple[str, ...], depth: int) -> Schema:
        if node.get("maxItems") == 0:
            return {"maxItems": 0}  # as an array of a recursive type was reduced
        try:
            return {"items": self.schema(node.get("items", True), seen, depth + 1)}
        except Unreadable:
            return {"maxItems": 0}


def _types(node: Mapping[str, Json]) -> list[str]:
    """The types a node may have, as OpenAPI 3.0 and 3.1 say it; none where it does not say."""
    said = node.get("type")
    named = [said] if isinstance(said, str) else _listed(said)
    types = [name for name in named if isinstance(name, str) and name in _TYPES]
    if not types and "properties" in node:
        types = ["object"]
    if not types and "items" in node:
        types = ["array"]
    if types and node.get("nullable") is True and "null" not in types:
        types.append("null")
    return types


def _said(node: Mapping[str, Json]) -> Schema:
    """What a node says of itself in keywords that cost nothing to check."""
    said: Schema = {}
    if description := clean(node.get("description")):
        said["description"] = description
    if form := clean(node.get("format"), _NAME_CHARS):
        said["format"] = form
    choices = [node["const"]] if "const" in node else _listed(node.get("enum"))
    if fit := [value for value in choices if _is_scalar(value)]:
        said["enum"] = fit[:_MOST_CHOICES]
    if _is_scalar(node.get("default")) and node.get("default") is not None:
        said["default"] = node["default"]
    for key in _NUMBERS:
        if _is_number(node.get(key)):
            said[key] = node[key]
    for key in _SIZES:
        value = node.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            said[key] = value
    return _exclusive(node, said)


def _exclusive(node: Mapping[str, Json], said: Schema) -> Schema:
    """OpenAPI 3.0 has `exclusiveMinimum: true` beside `minimum`; JSON Schema has one number."""
    for plain, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if node.get(exclusive) is True and plain in said:
            said[exclusive] = said.pop(plain)
    return said


def _merged(first: Mapping[str, Json], second: Mapping[str, Json]) -> Schema:
    """Both at once: properties and requirements together, otherwise what `second` says."""
    merged: Schema = {**first, **second}
    ours, theirs = first.get("properties"), second.get("properties")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        merged["properties"] = {**ours, **theirs}
    required = [*_listed(first.get("required")), *_listed(second.get("required"))]
    if required:
        merged["required"] = list(dict.fromkeys(n for n in required if isinstance(n, str)))
    return merged


def _listed(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: Json) -> bool:
    if isinstance(value, str):
        return len(value) <= _DESCRIPTION_CHARS and is_storable(value)
    return value is None or isinstance(value, bool | int | float)
