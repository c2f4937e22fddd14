"""A tenant of the demo as it stands once it is set up; nothing is connected."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tenantry.demo.client import Client
from tenantry.demo.provision import Place
from tenantry.demo.script import SKYLINE


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with aiohttp.ClientSession() as session:
        client = Client(session, "http://127.0.0.1:9", "secret-credential")
        yield Place(SKYLINE, "0192-skyline", client, client, 8, 5, 12, 0)
        await asyncio.sleep(0)
