"""Which arguments of an operation a model may fill, and how they are checked (SEC-3).

Invariant: what the configuration fills is not in the schema shown, so that it cannot be given; what
is named or described like somebody, somewhere or a key is not in it either, unless an administrator
exposed it with a reason; whatever is not in it is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from tenantry.connectors.openapi_schema import Schema, Unreadable, clean
from tenantry.connectors.option_values import object_of
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
        fixed: values that it fills, by key; of an argument's own parts, `body.a.b`.
        expose: keys that a model may fill all the same.
    """

    fixed: Mapping[str, Json]
    expose: Mapping[str, str]

    @classmethod
    def read(cls, options: Mapping[str, Json]) -> "Exposure":
        """What the options `fixed` and `expose` say.

        Raises:
            InvalidRequest: they say something else than they may.
        """
        fixed = object_of(options.get("fixed", {}), "fixed")
        for name, value in fixed.items():
            if value is None or not isinstance(value, str | int | float | bool):
                raise InvalidRequest(f"The fixed value of {clean(name, 60)} is a text or a number.")
        reasons = object_of(options.get("expose", {}), "expose")
        if not all(isinstance(why, str) and why.strip() for why in reasons.values()):
            raise InvalidRequest("expose gives each argument a reason.")
        return cls(fixed, {name: clean(why) for name, why in reasons.items()})

    def stored(self) -> dict[str, Json]:
        """As options."""
        return {"fixed": dict(self.fixed), "expose": dict(self.expose)}


@dataclass(frozen=True, slots=True)
class Fixed:
    """An argument that the configuration fills.

    Attributes:
        key: as the configuration names it.
        path: where it is among the arguments.
        value: what it is.
        schema: what the source says that it must be.
    """

    key: str
    path: tuple[str, ...]
    value: Json
    schema: Json


@dataclass(slots=True)
class _Used:
    fixed: list[Fixed] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Offer:
    """An operation as a model may call it.

    Attributes:
        name: of the operation.
        description: what it does, as the source says, cleaned: untrusted.
        effect: `write` when it changes something.
        schema: closed schema of the arguments that a model fills.
        fixed: what the configuration fills.
        hidden: keys of optional arguments that are not shown.
    """

    name: str
    description: str
    effect: Literal["read", "write"]
    schema: Schema
    fixed: tuple[Fixed, ...] = ()
    hidden: tuple[str, ...] = ()


def offered(operation: Offer, exposure: Exposure) -> Offer:
    """The operation with what a model may fill.

    Args:
        operation: with the closed schema of all its arguments.
        exposure: what the configuration says about them.

    Raises:
        Unreadable: an argument that it must have may not be filled by a model, nor is it fixed.
    """
    used = _Used()
    schema = _shown(operation.schema, exposure, (), used)
    return replace(operation, schema=schema, fixed=tuple(used.fixed), hidden=tuple(used.hidden))


def _shown(schema: Schema, exposure: Exposure, at: tuple[str, ...], used: _Used) -> Schema:
    shown: Schema = dict(schema)
    if isinstance(choices := schema.get("anyOf"), list):
        shown["anyOf"] = [_shown(c, exposure, at, used) for c in choices if isinstance(c, dict)]
    for inside in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(inside), dict):
            # No key of `fixed` has brackets: one value for every item would be a guess.
            shown[inside] = _shown(inner, exposure, (*at[:-1], f"{at[-1] if at else ''}[]"), used)
    if isinstance(named := schema.get("properties"), dict):
        shown |= _properties(named, set(_names(schema)), (exposure, at, used))
        if not shown["required"]:
            del shown["required"]
    return shown


def _properties(
    named: Schema, required: set[str], among: tuple[Exposure, tuple[str, ...], _Used]
) -> dict[str, Json]:
    exposure, at, used = among
    kept: Schema = {}
    for name, inner in named.items():
        path = (*at, name)
        key = ".".join(path)
        if key in exposure.fixed:
            used.fixed.append(Fixed(key, path, exposure.fixed[key], inner))
            required.discard(name)
        elif key not in exposure.expose and is_reserved(name, _text(inner, "description")):
            if name in required:
                raise Unreadable(
                    f"its argument {clean(key, 80)} names somebody, somewhere or a key: "
                    "fix its value, or expose it with a reason"
                )
            used.hidden.append(key)
        elif isinstance(inner, dict):
            kept[name] = _shown(inner, exposure, path, used)
    return {"properties": kept, "required": sorted(required)}


def check(schema: Schema, arguments: Mapping[str, Json]) -> None:
    """Refuse arguments that do not fit what is shown.

    Raises:
        DoesNotFit: they do not; the message says what to mend.
    """
    errors = _errors(schema, arguments)
    unknown = [*_surplus(schema, arguments, ""), *_reserved_keys(schema, arguments)]
    if unknown:
        names = tuple(dict.fromkeys(clean(name, 60) for name in unknown[:_MOST_NAMES]))
        raise DoesNotFit(f"{_EXTRA}{', '.join(names)}.", names)
    if errors:
        said = (
            f"{clean('.'.join(map(str, path)), 60) or 'arguments'}: {_complaint(keyword, wanted)}"
            for path, keyword, wanted in errors
        )
        raise DoesNotFit("; ".join(said) + ".")


def check_use(offers: Mapping[str, Offer], left_out: Mapping[str, str], exposure: Exposure) -> None:
    """Refuse a configuration that offers nothing, fixes what is nowhere, or does not fit.

    Raises:
        InvalidRequest: it does, and how.
    """
    if not offers:
        why = next((f" {name}: {text}." for name, text in left_out.items()), "")
        raise InvalidRequest(f"There is no operation that can be offered.{why}")
    used = {each.key for offer in offers.values() for each in offer.fixed}
    if unused := sorted(exposure.fixed.keys() - used):
        raise InvalidRequest(f"No operation offered has the fixed argument {clean(unused[0], 60)}.")
    for offer in offers.values():
        for each in offer.fixed:
            if isinstance(each.schema, dict) and _errors(each.schema, each.value):
                raise InvalidRequest(f"The fixed value of {each.key} does not fit {offer.name}.")


def left_out_of(offers: Mapping[str, Offer], left_out: Json) -> list[str]:
    """What an administrator is told of operations and arguments that are not offered."""
    reasons = left_out if isinstance(left_out, Mapping) else {}
    said = [f"{name} is left out: {why}." for name, why in reasons.items()]
    for name, offer in offers.items():
        if offer.hidden:
            said.append(f"{name} is offered without its argument {', '.join(offer.hidden)[:200]}.")
    return said


def filled(arguments: Mapping[str, Json], fixed: Sequence[Fixed]) -> dict[str, Json]:
    """The arguments with what the configuration fills."""
    whole = dict(arguments)
    for each in fixed:
        target = whole
        *steps, last = each.path
        for step in steps:
            inner = target.get(step)
            copy: dict[str, Json] = dict(inner) if isinstance(inner, Mapping) else {}
            target[step] = copy
            target = copy
        target[last] = each.value
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
            "APIs and MCP servers need the extra `connectors`: pip install 'tenantry[connectors]'."
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
