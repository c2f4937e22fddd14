"""A served platform for the tests of the HTTP edge."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.providers.scripted import ScriptedProvider
from tests.service import Service
from tests.worlds import Cluster


@pytest.fixture
async def service(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Service]:
    """The real server on a real socket, with two tenants and their keys; keyless answers."""
    async with Service.create(cluster, tmp_path) as service:
        yield service


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """A model provider of the outside world, over real HTTP."""
    with ScriptedProvider() as provider:
        yield provider


def providers_file(folder: Path, provider: ScriptedProvider) -> Path:
    """A providers file whose account `scripted` leads to the provider."""
    (folder / "key").write_text("sk-scripted-secret")
    path = folder / "providers.json"
    path.write_text(json.dumps(provider.accounts_file(str(folder / "key"))))
    return path


@pytest.fixture
async def modelled(
    cluster: Cluster, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    """The real server, with the scripted provider's models beside the keyless answerer."""
    path = providers_file(tmp_path, provider)
    async with Service.create(cluster, tmp_path, path) as service:
        yield service
