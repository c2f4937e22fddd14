"""Errors: one tree, stable codes, messages that are fit to be shown."""

from collections.abc import Iterator

import pytest

from tenantry.core import errors
from tenantry.core.errors import TenantryError


def _tree(root: type[TenantryError] = TenantryError) -> Iterator[type[TenantryError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [e.code for e in _tree() if e.__module__ == errors.__name__]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", [e for e in _tree() if e.__module__ == errors.__name__])
def test_the_docstring_is_the_default_message(kind: type[TenantryError]) -> None:
    assert kind().message.endswith(".")
    assert kind("Another.").message == "Another."
    assert 400 <= kind.http_status < 600


def test_the_docstring_of_the_module_draws_every_error() -> None:
    drawn = errors.__doc__ or ""
    for kind in _tree():
        if kind.__module__ == errors.__name__:
            assert kind.__name__ in drawn
