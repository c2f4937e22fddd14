"""Settings of an assistant's version: known ones, in range, or a clear refusal."""

from typing import Any

import pytest

from tenantry.core.errors import InvalidRequest
from tenantry.sessions.assistants import Behaviour


def test_what_is_not_set_is_left_to_the_platform() -> None:
    assert Behaviour.read({}) == Behaviour(None, None, None)


def test_known_settings_come_out_as_typed_values() -> None:
    settings = {"temperature": 0, "max_output_tokens": 500, "max_steps": 4}
    assert Behaviour.read(settings) == Behaviour(0, 500, 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "1"),
        ("temperature", None),
        ("temperature", float("nan")),
        ("temperature", False),
        ("max_output_tokens", 0),
        ("max_output_tokens", 1_000_001),
        ("max_output_tokens", 1.0),
        ("max_steps", True),
        ("max_steps", 101),
        ("max_steps", [1]),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"'{name}' must be from"):
        Behaviour.read({name: value})


def test_an_unknown_setting_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InvalidRequest, match="temperature, max_output_tokens, max_steps"):
        Behaviour.read({"system": "x"})
