"""Members of a JSON object are changed in its bytes; every other byte stays."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import InvalidRequest
from tenantry.gateway.splice import Members, Splice, refuse_brackets, refuse_repeated

SPACE = st.text(" \t\r\n", max_size=2)
NUMBERS = st.sampled_from(
    ["0", "-0", "1e5", "1E-7", "0.10", "-1.50e+3", "123456789012345678901234567890", "1.0"]
)
_QUOTED = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
STRINGS = st.builds(
    lambda text, plain: json.dumps(text, ensure_ascii=not plain), _QUOTED, st.booleans()
) | st.sampled_from(['"\\u0041"', '"\\/"', '"\\\\"', '"{\\"a\\":[}"', '"\\ud83d\\ude00"', '"]},"'])


def _joined(items: list[str], opens: str, closes: str, gap: str) -> str:
    return opens + gap + f"{gap},{gap}".join(items) + gap + closes


def _lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(_joined, st.lists(values, max_size=3), st.just("["), st.just("]"), SPACE)


def _members(values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    member = st.builds(lambda name, gap, value: f"{name}{gap}:{gap}{value}", STRINGS, SPACE, values)
    return st.lists(member, max_size=4)


def _objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(_joined, _members(values), st.just("{"), st.just("}"), SPACE)


VALUES = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "false", "null"]),
    lambda inner: _lists(inner) | _objects(inner),
    max_leaves=12,
)
DOCUMENTS = st.builds(lambda a, body, b: a + body + b, SPACE, _objects(VALUES), SPACE)


def _pairs(data: str) -> list[tuple[str, Any]]:
    """The members as Python's own parser reads them, repeated ones included."""

    def keep(pairs: list[tuple[str, Any]]) -> Any:
        return ("object", pairs)

    kind, pairs = json.loads(data, object_pairs_hook=keep, parse_float=str, parse_int=str)
    assert kind == "object"
    return list(pairs)


@given(DOCUMENTS)
def test_members_are_found_where_a_parser_finds_them(text: str) -> None:
    data = text
    orjson.loads(data)
    members = Members.of(data)
    shown = [
        (
            member.name,
            _pairs('{"x":' + data[member.value : member.end] + "}")[0][1],
        )
        for member in members.found
    ]
    assert shown == _pairs(data)
    assert data[members.close :].strip() == "}"
    for member in members.found:
        assert data[member.begin : member.begin + 1] == '"'
        assert data[member.value : member.end].strip() == data[member.value : member.end]


@given(DOCUMENTS, st.integers(0, 5), VALUES)
def test_a_changed_value_is_the_only_change(text: str, which: int, value: str) -> None:
    data = text
    members = Members.of(data)
    splice, parsed = Splice(data), _pairs(data)
    if which < len(members.found):
        member = members.found[which]
        splice.replace(member.value, member.end, value)
        parsed[which] = (member.name, _pairs('{"x":' + value + "}")[0][1])
        rest = data[: member.value], data[member.end :]
        assert splice.made() == rest[0] + value + rest[1]
    else:
        splice.append(members, "model", "m")
        splice.append(members, "n", 7)
        parsed += [("model", "m"), ("n", "7")]
        assert splice.made().startswith(data[: members.close])
        assert splice.made().endswith(data[members.close :])
    assert _pairs(splice.made()) == parsed


@given(DOCUMENTS)
def test_without_changes_the_bytes_are_the_same(text: str) -> None:
    assert Splice(text).made() == text


def test_changes_are_made_in_the_order_of_their_places() -> None:
    data = '{"a": 1, "b": 2}'
    members = Members.of(data)
    splice = Splice(data)
    splice.append(members, "c", 3)
    splice.value(members.found[1], "two")
    splice.member(members.found[0], "A", [1])
    assert splice.made() == '{"A":[1], "b": "two","c":3}'


@pytest.mark.parametrize(
    "data",
    [
        '{"model": "a", "model": "b"}',
        '{"model": "a", "mod\\u0065l": "b"}',
        '{"Model": "b"}',
        '{"model": "a", "MODEL": "b"}',
        '{"max_to\N{KELVIN SIGN}ens": 5}',
        '{"\N{LATIN SMALL LETTER LONG S}tream": true}',
        '{"x": {}, "stream": false, "\\u0073tream": true}',
    ],
)
def test_a_name_that_is_read_stands_there_once_however_it_is_spelt(data: str) -> None:
    with pytest.raises(InvalidRequest, match="once"):
        Members.of(data).named(("model", "max_tokens", "stream"))


def test_names_that_are_not_read_may_repeat() -> None:
    data = '{"x": 1, "x": 2, "X": 3, "model": "m"}'
    assert list(Members.of(data).named(("model",))) == ["model"]


def test_a_body_of_endless_parts_is_refused() -> None:
    refuse_brackets(b'{"x": [' + b"[]," * 100_000 + b"1]}")
    with pytest.raises(InvalidRequest, match="objects and lists"):
        refuse_brackets(b'{"x": [' + b"[]," * 400_000 + b"1]}")


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="deeply"):
        Members.of('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}")


def test_a_number_of_any_length_is_kept() -> None:
    text = '{"x": ' + "9" * 10_000 + ', "model": "m"}'
    splice, members = Splice(text), Members.of(text)
    splice.value(members.found[1], "n")
    assert splice.made() == text.replace('"m"', '"n"')


@pytest.mark.parametrize(
    "data", ["", "[1]", '{"a"', '{"a":}', '{"a": "x', '{"a": [', "{,}", '{"a": 1,}', "{"]
)
def test_what_is_no_object_is_refused(data: str) -> None:
    with pytest.raises(InvalidRequest):
        Members.of(data)


@pytest.mark.parametrize(
    "data",
    [
        '[{"type": "function", "type": "web_search"}]',
        '[{"function": {"name": "a", "Name": "b"}}]',
        '[{"a": [{"b": {"c": 1, "\\u0063": 2}}]}]',
    ],
)
def test_repeated_names_are_found_however_deep(data: str) -> None:
    with pytest.raises(InvalidRequest, match="tools"):
        refuse_repeated(data, "tools")
    refuse_repeated('[{"a": {"a": [{"a": 1}, {"a": 2}]}}]', "tools")
