"""Reads fields of foreign JSON by the type they must have; anything else is malformed."""

from collections.abc import Mapping
from typing import Any

from tenantry.core.errors import ProviderMalformed


def text_in(value: Mapping[str, Any], name: str) -> str:
    """The text under `name`; empty when it is absent or null.

    Raises:
        ProviderMalformed: it is anything else.
    """
    found = value.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise ProviderMalformed
    return found


def number_in(value: Mapping[str, Any], name: str) -> int:
    """The whole number under `name`; 0 when it is absent or null.

    Raises:
        ProviderMalformed: it is anything else.
    """
    found = value.get(name)
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool):
        raise ProviderMalformed
    return found


def object_in(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under `name`; an empty one when it is absent or null.

    Raises:
        ProviderMalformed: it is anything else.
    """
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ProviderMalformed
    return found


def objects_in(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The list of objects under `name`; an empty one when it is absent or null.

    Raises:
        ProviderMalformed: it is anything else.
    """
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ProviderMalformed
    return found
