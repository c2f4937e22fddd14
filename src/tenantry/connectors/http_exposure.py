"""Which arguments of an operation a model may fill, and how they are checked (SEC-3).

Invariant: what the configuration fills is not in the schema shown, so that it cannot be given; what
is named or described like somebody, somewhere or a key is not in it either, unless an administrator
exposed it with a reason; whatever is not in it is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tenantry.connectors.openapi_document import ApiOperation
from tenantry.connectors.openapi_schema import Schema, Unreadable, clean
from tenantry.connectors.reserved_names import is_reserved
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json

_MOST_ERRORS = 5
_MOST_NAMES = 8
_EXTRA = "There is no argument "


class DoesNotFit(Exception):
    """Arguments do not fit the schema shown.

    Attributes:
        message: what to mend; holds names of the schema and of arguments, cleaned.
        unknown: names of arguments that the schema does not have; these are no mistake.
    """

    def __init__(self, message: str, unknown: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.unknown = unknown


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a configuration says about arguments.

    Attributes:
        fixed: values that it fills, by key; of a body, `body.a.b`.
        expose: keys that a model may fill all the same.
    """

    fixed: Mapping[str, Json]
    expose: Mapping[str, str]


@dataclass(slots=True)
class _Used:
    fixed: set[str] = field(default_factory=set)
    hidden: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Offer:
    """An operation as a model may call it.

    Attributes:
        operation: as the document says.
        schema: closed schema of the arguments that a model fills.
        fixed: values that the configuration fills, by key.
        hidden: keys of optional arguments that are not shown.
    """

    operation: ApiOperation
    schema: Schema
    fixed: Mapping[str, Json]
    hidden: tuple[str, ...]


def offered(operation: ApiOperation, exposure: Exposure) -> Offer:
    """The operation with what a model may fill.

    Raises:
        Unreadable: an argument that it must have may not be filled by a model, nor is it fixed.
    """
    used = _Used()
    whole: Schema = {
        "type": "object",
        "properties": {each.key: each.schema for each in operation.parameters},
        "required": [each.key for each in operation.parameters if each.required],
        "additionalProperties": False,
    }
    if operation.body is not None and isinstance(whole["properties"], dict):
        whole["properties"]["body"] = operation.body
        if operation.body_required:
            whole["required"] = [*_names(whole), "body"]
    schema = _shown(whole, exposure, "", used)
    fixed = {key: exposure.fixed[key] for key in exposure.fixed if key in used.fixed}
    return Offer(operation, schema, fixed, tuple(used.hidden))


def _shown(schema: Schema, exposure: Exposure, at: str, used: _Used) -> Schema:
    shown: Schema = dict(schema)
    if isinstance(choices := schema.get("anyOf"), list):
        shown["anyOf"] = [_shown(c, exposure, at, used) for c in choices if isinstance(c, dict)]
    for inside in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(inside), dict):
            # No key of `fixed` has brackets: one value for every item would be a guess.
            shown[inside] = _shown(inner, exposure, f"{at}[]", used)
    if isinstance(named := schema.get("properties"), dict):
        shown |= _properties(named, set(_names(schema)), (exposure, at, used))
        if not shown["required"]:
            del shown["required"]
    return shown


def _properties(
    named: Schema, required: set[str], among: tuple[Exposure, str, _Used]
) -> dict[str, Json]:
    exposure, at, used = among
    kept: Schema = {}
    for name, inner in named.items():
        key = f"{at}.{name}" if at else name
        if key in exposure.fixed:
            used.fixed.add(key)
            required.discard(name)
        elif key not in exposure.expose and is_reserved(name, _text(inner, "description")):
            if name in required:
                raise Unreadable(
                    f"its argument {clean(key, 80)} names somebody, somewhere or a key: "
                    "fix its value, or expose it with a reason"
                )
            used.hidden.append(key)
        elif isinstance(inner, dict):
            kept[name] = _shown(inner, exposure, key, used)
    return {"properties": kept, "required": sorted(required)}


def check(offer: Offer, arguments: Mapping[str, Json]) -> None:
    """Refuse arguments that do not fit what is shown.

    Raises:
        DoesNotFit: they do not; the message says what to mend.
    """
    errors = _errors(offer.schema, arguments)
    unknown = [*_surplus(offer.schema, arguments, ""), *_reserved_keys(offer.schema, arguments)]
    if unknown:
        names = tuple(dict.fromkeys(clean(name, 60) for name in unknown[:_MOST_NAMES]))
        raise DoesNotFit(f"{_EXTRA}{', '.join(names)}.", names)
    if errors:
        said = (
            f"{clean('.'.join(map(str, path)), 60) or 'arguments'}: {_complaint(keyword, wanted)}"
            for path, keyword, wanted in errors
        )
        raise DoesNotFit("; ".join(said) + ".")


def check_fixed(operation: ApiOperation, fixed: Mapping[str, Json]) -> None:
    """Refuse values of a configuration that do not fit the parameter they are for.

    Raises:
        InvalidRequest: one does not.
    """
    for each in operation.parameters:
        if each.key in fixed and _errors(each.schema, fixed[each.key]):
            raise InvalidRequest(f"The fixed value of {each.key} does not fit {operation.name}.")


def filled(arguments: Mapping[str, Json], fixed: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments with what the configuration fills."""
    whole = dict(arguments)
    for key, value in fixed.items():
        target = whole
        *steps, last = key.split(".") if key.startswith("body.") else [key]
        for step in steps:
            inner = target.get(step)
            copy: dict[str, Json] = dict(inner) if isinstance(inner, Mapping) else {}
            target[step] = copy
            target = copy
        target[last] = value
    return whole


def _surplus(schema: Json, value: Json, at: str) -> Iterator[str]:
    """Names in a value that a closed schema does not have, however deep."""
    if not isinstance(schema, dict):
        return
    choices = schema.get("anyOf")
    if isinstance(choices, list):
        found = [list(_surplus(each, value, at)) for each in choices]
        yield from min(found, key=len, default=[])
    if isinstance(value, list):
        for each in value:
            yield from _surplus(schema.get("items"), each, at)
    named = schema.get("properties")
    if isinstance(value, Mapping) and isinstance(named, dict):
        more = schema.get("additionalProperties")
        for name, inner in value.items():
            key = f"{at}.{name}" if at else name
            if name not in named and more is False:
                yield key
            yield from _surplus(named.get(name, more), inner, key)


def _reserved_keys(schema: Json, value: Json) -> Iterator[str]:
    """Reserved names where a schema leaves names open."""
    if not isinstance(schema, dict):
        return
    for each in schema.get("anyOf") or ():
        yield from _reserved_keys(each, value)
    if isinstance(value, list):
        for each in value:
            yield from _reserved_keys(schema.get("items"), each)
    named = schema.get("properties")
    if isinstance(value, Mapping) and isinstance(named, dict):
        more = schema.get("additionalProperties")
        for name, inner in value.items():
            if name not in named and more is not False and is_reserved(name):
                yield name
            yield from _reserved_keys(named.get(name, more), inner)


def _errors(schema: Schema, value: Json) -> list[tuple[Sequence[str | int], str, Json]]:
    """The first few things in a value that do not fit: where, which keyword, what it wants."""
    try:
        from jsonschema import Draft202012Validator  # an extra, loaded when it is first needed
    except ImportError as error:
        raise InvalidRequest(
            "HTTP APIs need the extra `connectors`: pip install 'tenantry[connectors]'."
        ) from error
    found = islice(Draft202012Validator(schema).iter_errors(value), _MOST_ERRORS)
    return [(list(e.absolute_path), str(e.validator), e.validator_value) for e in found]


def _complaint(keyword: str, wanted: Json) -> str:
    """What is wrong, in words of the schema: never the value, which may be anything."""
    if keyword == "anyOf":
        return "fits none of its choices"
    said = ", ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
    return f"{keyword} is {clean(said, 200)}"


def _names(schema: Schema) -> list[str]:
    listed = schema.get("required")
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _text(node: Json, key: str) -> str:
    value = node.get(key) if isinstance(node, dict) else None
    return value if isinstance(value, str) else ""
