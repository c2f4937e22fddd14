"""Clients that call at random, a provider that fails at random, and a server that is killed."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import psycopg

from tenantry.db.store import Store
from tests.providers.replies import ProviderCall, Reply, refusing

_WORKERS = 24
_HEARD_OUT_S = 2.5
"""A call outlives its client by two seconds at most."""
_PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")
_ENDS = (b"[DONE]", b"response.completed", b"message_stop")


class Moods:
    """What the provider answers: mostly well, sometimes not at all."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def __call__(self, _call: ProviderCall) -> Reply:
        chance = self._chance
        reply = Reply(
            "word " * chance.randint(1, 30),
            latency_s=chance.choice([0, 0, 0.01]),
            token_s=chance.choice([0, 0, 0.003]),
            fault_after=chance.randint(0, 5),
            cached=chance.randint(0, 1),
        )
        mood = chance.random()
        if mood < 0.03:
            return refusing(chance.choice([429, 500, 503, 529]))
        if mood < 0.05:
            return replace(reply, fault="cut")
        if mood < 0.06:
            return replace(reply, fault=chance.choice(["garbage", "no_end"]))
        if mood < 0.07:
            return replace(reply, fault=chance.choice(["hang_up", "html"]))
        return replace(reply, usage=None) if mood < 0.09 else reply


@dataclass
class Told:
    """What clients were told.

    Attributes:
        answered: request ids of whole answers.
        repeated: how many repetitions under one key were refused.
        refused: how many calls were refused or failed.
        left: when clients went away before their answer.
    """

    answered: set[str] = field(default_factory=set)
    repeated: int = 0
    refused: int = 0
    left: list[float] = field(default_factory=list)


class Crowd:
    """Clients of several tenants, which ask without pause until they are told to stop."""

    def __init__(self, keys: Sequence[str], told: Told, seed: int) -> None:
        self._keys = keys
        self._told = told
        self._chance = random.Random(seed)
        self._named = 0
        self.started = self.under_way = 0

    async def ask(self, base_url: str, calls: int) -> "asyncio.Task[None]":
        """Begin; return once so many calls were begun. The task ends when the server is gone."""
        enough, until = asyncio.Event(), self.started + calls

        async def work(session: aiohttp.ClientSession) -> None:
            while await self._one(session, base_url):
                if self.started >= until:
                    enough.set()

        async def all_of_them() -> None:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                await asyncio.gather(*(work(session) for _ in range(_WORKERS)))
            enough.set()

        working = asyncio.create_task(all_of_them())
        await enough.wait()
        return working

    def going_on(self) -> int:
        """How many calls the server may have under way now."""
        recent = time.monotonic() - _HEARD_OUT_S
        return self.under_way + sum(1 for when in self._told.left if when > recent)

    async def _one(self, session: aiohttp.ClientSession, base_url: str) -> bool:
        """One call, perhaps repeated under its key; False when the server is gone."""
        chance = self._chance
        path = chance.choices(_PATHS, weights=(5, 2, 2, 1))[0]
        headers = {"authorization": f"Bearer {chance.choice(self._keys)}"}
        times = 1
        if chance.random() < 0.3:
            self._named += 1
            headers["idempotency-key"] = f"k{self._named}"
            times = chance.choice([1, 2])
        body = _body(path, stream=chance.random() < 0.5)
        patience = chance.uniform(0.0, 0.1) if chance.random() < 0.08 else 60.0
        asked = [self._ask(session, base_url + path, headers, body, patience) for _ in range(times)]
        return all(await asyncio.gather(*asked))

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        url: str,
        headers: dict[str, str],
        body: dict[str, Any],
        patience: float,
    ) -> bool:
        self.started += 1
        self.under_way += 1
        head: aiohttp.ClientResponse | None = None
        try:
            async with (
                asyncio.timeout(patience),
                session.post(url, json=body, headers=headers) as head,
            ):
                answer = await head.read()
        except TimeoutError:
            self._told.left.append(time.monotonic())
            return True
        except aiohttp.ClientConnectorError:
            return False
        except aiohttp.ClientError:
            # The provider broke off and so did we, or the server was killed.
            return head is not None
        finally:
            self.under_way -= 1
        is_whole = any(end in answer[-4000:] for end in _ENDS) if body.get("stream") else True
        if head.status == 200 and is_whole:
            self._told.answered.add(head.headers["x-request-id"])
        elif head.status == 409:
            self._told.repeated += 1
        else:
            self._told.refused += 1
            await asyncio.sleep(0.02)
        return True


@dataclass(frozen=True)
class Truth:
    """What the provider itself counted, by our id of the call."""

    calls: dict[str, ProviderCall]

    @classmethod
    def of(cls, seen: Sequence[ProviderCall]) -> "Truth":
        """Of every call that it worked on; what it refused it charges nothing for."""
        worked_on: dict[str, ProviderCall] = {}
        for call in seen:
            if call.outcome != "refused":
                assert call.request_id not in worked_on, "a call was made twice"
                worked_on[call.request_id] = call
        return cls(worked_on)

    def export(self, ours: Sequence[str]) -> list[str]:
        """Lines of its export, and of the calls of ours that it never heard of: nothing."""
        lines = []
        for call_id in ours:
            call = self.calls.get(call_id)
            used = (call.prompt_tokens, call.streamed_tokens) if call else (0, 0)
            cached = _cached(call) if call else 0
            lines.append(f"{call_id},{used[0]},{used[1]},{cached}")
        return lines


def _cached(call: ProviderCall) -> int:
    report = call.reported if isinstance(call.reported, dict) else {}
    for name in ("prompt_tokens_details", "input_tokens_details"):
        if isinstance(report.get(name), dict):
            return int(report[name].get("cached_tokens", 0))
    return int(report.get("cache_read_input_tokens", 0))


def _body(path: str, *, stream: bool) -> dict[str, Any]:
    said = [{"role": "user", "content": "Count these words for me."}]
    if path.endswith("embeddings"):
        return {"model": "scripted/scripted-1", "input": ["a b c", "d"]}
    if path.endswith("messages"):
        model = {"model": "claude/scripted-2", "messages": said, "max_tokens": 100}
    elif path.endswith("responses"):
        model = {"model": "scripted/scripted-2", "input": "Count these words for me."}
    else:
        model = {"model": "scripted/scripted-1", "messages": said}
    return {**model, "stream": stream}


@dataclass
class Ledgers:
    """The ledger, past row-level security."""

    store: Store

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows of it."""
        with psycopg.connect(self.store.admin_url, row_factory=psycopg.rows.dict_row) as admin:
            return admin.execute(query).fetchall()

    def open_calls(self) -> int:
        """Calls that were announced and have no end."""
        (row,) = self.rows(
            "SELECT count(*) AS n FROM tenantry.usage_events AS i WHERE i.kind = 'intent'"
            " AND NOT EXISTS (SELECT FROM tenantry.usage_events AS c WHERE c.call_id = i.call_id"
            " AND c.tenant_id = i.tenant_id AND c.kind IN ('settled', 'swept'))"
        )
        return int(row["n"])


def accounts_file(url: str) -> str:
    """A providers file with an account of each dialect."""
    models = [{"name": f"scripted-{n}", "max_output_tokens": 1024} for n in (1, 2)]
    fast = {"models": models, "timeouts": {"connect_s": 2, "first_s": 10, "idle_s": 10}}
    return json.dumps(
        {
            "accounts": [
                {"name": "scripted", "kind": "openai_compatible", "base_url": url + "/v1", **fast},
                {"name": "claude", "kind": "anthropic", "base_url": url, **fast},
            ]
        }
    )
