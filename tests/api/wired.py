"""A served platform that the gateway's tests of one module share, and the provider behind it."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from psycopg.rows import dict_row

from tenantry.fairness.breakers import Breakers
from tests.providers.scripted import MODELS, ScriptedProvider
from tests.service import Answer, Service
from tests.worlds import Cluster

OPENAI, CLAUDE, HASTY = "scripted/scripted-1", "claude/scripted-1", "hasty/scripted-1"
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
SAID = [{"role": "user", "content": "Hello there"}]


@dataclass
class Wired:
    """The platform and its provider.

    `scripted` speaks OpenAI's APIs, `claude` Anthropic's, and `hasty` waits for little.
    """

    service: Service
    provider: ScriptedProvider

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        """A request of acme's; bytes are sent as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.service.acme.call("POST", path, data=io.BytesIO(raw), headers=named)

    async def stream(self, path: str, body: Any) -> bytes:
        """The whole of a streamed answer; raises when it is cut off."""
        headers = {"authorization": f"Bearer {self.service.acme.credential}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(self.service.base_url + path, json=body) as response,
        ):
            return await response.read()

    def rows(self, *kinds: str) -> list[dict[str, Any]]:
        """Rows of the ledger of these kinds, oldest first."""
        with self.service.admin() as admin, admin.cursor(row_factory=dict_row) as cursor:
            query = "SELECT * FROM tenantry.usage_events WHERE kind = ANY (%s) ORDER BY at"
            return cursor.execute(query, [list(kinds)]).fetchall()

    def closed(self) -> list[dict[str, Any]]:
        """The ends of calls."""
        return self.rows("settled", "swept")

    def forget(self) -> None:
        """Begin anew: no calls, no replies, an empty ledger, every breaker closed."""
        self.service.platform.admission.breakers = Breakers()
        with self.service.admin() as admin:
            admin.execute("TRUNCATE tenantry.usage_events")
        self.provider.forget()


@asynccontextmanager
async def wired_platform(cluster: Cluster, folder: Path) -> AsyncIterator[Wired]:
    """Serve it."""
    with ScriptedProvider() as provider:
        models = [{"name": name, "max_output_tokens": 1024} for name in MODELS]
        speaks = {"kind": "openai_compatible", "base_url": provider.url + "/v1", "models": models}
        claude = {"kind": "anthropic", "base_url": provider.url, "models": models}
        hasty = {"timeouts": {"connect_s": 1, "first_s": 0.4, "idle_s": 0.4}, "attempts": 2}
        (folder / "key").write_text("sk-scripted-secret")
        accounts = [
            {"name": "scripted", "key_file": "key", **speaks},
            {"name": "claude", "key_file": "key", **claude},
            {"name": "hasty", "key_file": "key", **speaks, **hasty},
        ]
        (folder / "providers.json").write_text(json.dumps({"accounts": accounts}))
        async with Service.create(
            cluster, folder, folder / "providers.json", header_timeout_s=0.5, body_timeout_s=0.5
        ) as service:
            yield Wired(service, provider)
