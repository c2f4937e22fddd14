"""Values of MySQL and MariaDB keep what they are: exact, and told by a logical type (CON-3)."""

import orjson
import pytest

from tenantry.connectors.mysql_packets import Malformed
from tenantry.connectors.mysql_values import ResultColumn, column
from tenantry.core.events import Json

_UTF8MB4, _BINARY = 45, 63


def _text(content: bytes) -> bytes:
    return bytes([len(content)]) + content


def _definition(name: str, code: int, charset: int = _UTF8MB4, named: bytes | None = None) -> bytes:
    parts = [b"def", b"db", b"t", b"t", name.encode(), b"original"]
    if named is not None:
        parts.append(named)
    end = b"\x0c" + charset.to_bytes(2, "little") + bytes(4) + bytes([code]) + bytes(5)
    return b"".join(map(_text, parts)) + end


def _column(code: int, charset: int = _UTF8MB4, named: bytes | None = None) -> ResultColumn:
    definition = _definition("c", code, charset, named)
    return column(definition, names_types=named is not None)


@pytest.mark.parametrize(
    ("code", "logical", "text", "value"),
    [
        (246, "decimal", b"1234567890123456789.1234567890", "1234567890123456789.1234567890"),
        (1, "integer", b"-128", -128),
        (8, "integer", b"18446744073709551615", 18446744073709551615),
        (13, "integer", b"1901", 1901),
        (16, "integer", b"\x02\xaa", 682),
        (16, "integer", b"\xff" * 8, 18446744073709551615),
        (4, "float", b"0.1", 0.1),
        (5, "float", b"-1.7976931348623157e308", -1.7976931348623157e308),
        (12, "timestamp", b"2024-02-29 23:59:59.999999", "2024-02-29T23:59:59.999999"),
        (7, "timestamp", b"0000-00-00 00:00:00", "0000-00-00T00:00:00"),
        (10, "date", b"0000-00-00", "0000-00-00"),
        (10, "date", b"2024-00-31", "2024-00-31"),
        (11, "time", b"-838:59:59", "-838:59:59"),
        (245, "json", b'{"a": [1, null, "\xc3\xbc"]}', {"a": [1, None, "ü"]}),
        (253, "text", "Grüße 🦊".encode(), "Grüße 🦊"),
        (253, "text", b"caf\xe9", "caf�"),
        (254, "text", b"", ""),
    ],
)
@pytest.mark.req("CON-3")
def test_a_value_keeps_its_type_and_every_digit(
    code: int, logical: str, text: bytes, value: Json
) -> None:
    found = _column(code)
    assert found.logical == logical
    assert found.value(text) == value
    assert orjson.loads(orjson.dumps(found.value(text))) == value


@pytest.mark.parametrize("code", [249, 250, 251, 252, 253, 254, 255])
def test_bytes_travel_as_base64(code: int) -> None:
    found = _column(code, _BINARY)
    assert found.logical == "binary"
    assert found.value(b"\x00\xff") == "AP8="


@pytest.mark.parametrize("code", [1, 5, 10, 12, 16, 245, 246, 253, 255])
def test_null_is_null_in_every_type(code: int) -> None:
    assert _column(code).value(None) is None


@pytest.mark.parametrize(
    ("named", "logical"),
    [
        (b"\x01\x04json", "json"),
        (b"\x00\x04uuid", "uuid"),
        (b"\x00\x05inet6", "text"),
        (b"\x00\x05point", "text"),
        (b"\x00\x05weird\x01\x04json", "json"),
        (b"", "text"),
    ],
)
def test_mariadb_names_types_that_travel_as_text(named: bytes, logical: str) -> None:
    assert _column(254, named=named).logical == logical


def test_json_beyond_64_bits_stays_the_text_it_is() -> None:
    assert _column(245).value(b"{broken") == "{broken"


@pytest.mark.parametrize(("code", "text"), [(3, b"12a"), (5, b"x"), (12, b"\xff"), (246, b"\xff")])
def test_a_value_that_its_type_cannot_have_is_no_answer(code: int, text: bytes) -> None:
    with pytest.raises(Malformed):
        _column(code).value(text)


def test_a_column_has_its_alias_for_a_name() -> None:
    found = column(_definition("Umsatz €", 253), names_types=False)
    assert found.name == "Umsatz €"


@pytest.mark.parametrize("cut", range(0, 24, 3))
def test_half_a_definition_is_no_answer(cut: int) -> None:
    with pytest.raises(Malformed):
        column(_definition("c", 253)[:cut], names_types=False)
