"""What is common to raw requests of every API: what is read of them, and what is changed.

Unknown fields go through byte for byte. Written are only: the provider's own model name, the output
bound (which is what makes the reservation an upper bound), the wish for usage figures, and that
nothing is kept at the provider.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry.core.errors import InvalidRequest
from tenantry.gateway.splice import Members, Splice
from tenantry.metering.usage import TokenUsage


@dataclass(frozen=True, slots=True)
class Given:
    """A client's body: its bytes, and the object that they are."""

    raw: bytes = field(repr=False)
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it will be sent.

    Attributes:
        body: JSON for the provider.
        stream: whether the answer is to be streamed.
        bound: the most the call can use.
        segments: by name, the members that the model is shown, for the manifest.
        hides_usage: whether only we asked for the usage event of the stream.
    """

    body: bytes = field(repr=False)
    stream: bool
    bound: TokenUsage
    segments: Mapping[str, bytes] = field(repr=False)
    hides_usage: bool = False


class Draft:
    """A client's body on its way to the provider's."""

    def __init__(self, given: Given, read: Iterable[str]) -> None:
        """With the names of every field that is read, each of which may be there once.

        Raises:
            InvalidRequest: one of them is there twice.
        """
        self.fields = given.fields
        self._text = given.raw.decode()
        self._members = Members.of(self._text)
        self._named = self._members.named(read)
        self._splice = Splice(self._text)

    def set(self, name: str, value: object) -> None:
        """Give a field a value, if it has another."""
        member = self._named.get(name)
        if member is None:
            self._splice.append(self._members, name, value)
        elif not _same(self.fields[name], value):
            self._splice.value(member, value)

    def move(self, old: str, new: str, value: object) -> None:
        """Give a field another name, and a value."""
        self._splice.member(self._named[old], new, value)

    def set_within(self, name: str, inner: str, value: object) -> None:
        """Give a field of an object that is a field a value; the object is made if it is none."""
        if not isinstance(self.fields.get(name), dict):
            self.set(name, {inner: value})
            return
        within = Members.of(self._text, self._named[name].value)
        known = within.named((inner,)).get(inner)
        if known is None:
            self._splice.append(within, inner, value)
        elif not _same(self.fields[name][inner], value):
            self._splice.value(known, value)

    def span(self, name: str) -> str:
        """The text of a field's value; empty when it is not there."""
        member = self._named.get(name)
        return self._text[member.value : member.end] if member else ""

    def spans(self, names: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those of the fields that are there."""
        return {name: self.span(name).encode() for name in names if name in self._named}

    def made(self) -> bytes:
        """The provider's body."""
        return self._splice.made().encode()


def flag(fields: Mapping[str, Any], name: str) -> bool:
    """A field that is true, false, or not there.

    Raises:
        InvalidRequest: it is anything else, which another reader might take for either.
    """
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{name}: true or false is needed.")
    return bool(value)


def whole_number(fields: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """A field that is a whole number of that range, or None when it is not there.

    Raises:
        InvalidRequest: it is anything else.
    """
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequest(f"{name}: a whole number from {least} to {most} is needed.")
    return value


def objects(fields: Mapping[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    """A field that is a list of objects, at least one.

    Raises:
        InvalidRequest: it is anything else, or longer than `most`.
    """
    value = fields.get(name)
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise InvalidRequest(f"{name}: a list with 1 to {most} entries is needed.")
    if not all(isinstance(each, dict) for each in value):
        raise InvalidRequest(f"{name}: every entry is an object.")
    return value


def only(fields: Mapping[str, Any], name: str, allowed: Iterable[object], why: str) -> None:
    """Refuse a field that has a value other than those allowed, or none.

    Raises:
        InvalidRequest: it has.
    """
    value = fields.get(name)
    if value is not None and not any(_same(value, each) for each in allowed):
        raise InvalidRequest(f"{name}: {why}")


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other  # to Python, 1 is true
