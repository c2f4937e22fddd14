"""A model that obeys everything it reads: the attacker's dream, served as a provider on loopback.

A language model may fall for orders hidden in a document on some days; this one always does. It
reads what the search tool finds, executes every `@@call tool {json}` in it to the letter, and then
says out loud everything that any tool gave it. What it still cannot get, no model can.

It speaks as much of OpenAI's chat completions as the platform uses: streamed, with tools.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

ACCOUNT = "gullible"
MODEL = "gullible/obeys-everything"
_ORDER = re.compile(r"@@call ([a-z_]+) (?=\{)")
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Order:
    """A tool call that some text asked for."""

    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class GullibleModel:
    """The running model: where it listens."""

    base_url: str

    def write_providers(self, path: Path) -> Path:
        """Write a providers file that offers this model as `gullible/obeys-everything`."""
        account = {
            "name": ACCOUNT,
            "kind": "openai_compatible",
            "base_url": self.base_url,
            "attempts": 1,
            "models": [{"name": MODEL.partition("/")[2]}],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"accounts": [account]}), encoding="utf-8")
        return path


@asynccontextmanager
async def gullible_model() -> AsyncIterator[GullibleModel]:
    """Serve the model on a free port of this machine for as long as the block runs."""
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", _complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield GullibleModel(f"http://127.0.0.1:{port}/v1")
    finally:
        await runner.cleanup()


def orders_in(text: str) -> Iterator[Order]:
    """Every tool call that `text` orders, to the letter."""
    for found in _ORDER.finditer(text):
        try:
            _, end = _JSON.raw_decode(text, found.end())
        except ValueError:
            continue
        yield Order(found[1], text[found.end() : end])


def next_calls(messages: Sequence[Mapping[str, Any]]) -> list[Order]:
    """What the model does next: search first, then obey whatever it found, then nothing more."""
    rounds = sum(bool(message.get("tool_calls")) for message in messages)
    if rounds == 0:
        question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
        return [Order("search_documents", json.dumps({"query": question}))]
    if rounds == 1:
        orders = (order for text in texts_read(messages) for order in orders_in(text))
        return list(dict.fromkeys(orders))
    return []


def texts_read(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every text in every tool result so far."""
    found: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            for line in message["content"].splitlines():
                if line.startswith("{"):  # the others mark where data begins and ends
                    found += _strings(json.loads(line))
    return found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings([key, item])
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif value is not None:
        yield str(value)


async def _complete(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    messages = body["messages"]
    calls = next_calls(messages)
    said = "" if calls else "\n".join(texts_read(messages))
    delta: dict[str, Any] = {"role": "assistant", "content": said}
    if calls:
        ids = f"call_{len(messages)}_"  # unlike those of the round before
        delta["tool_calls"] = [_call(n, f"{ids}{n}", order) for n, order in enumerate(calls)]
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    await response.write(_event([_choice(delta, None)]))
    await response.write(_event([_choice({}, "tool_calls" if calls else "stop")]))
    usage = {
        "prompt_tokens": len(json.dumps(messages)) // 4,
        "completion_tokens": max(1, len(said) // 4),
    }
    await response.write(_event([], usage=usage))
    await response.write(b"data: [DONE]\n\n")
    return response


def _call(number: int, call_id: str, order: Order) -> dict[str, Any]:
    function = {"name": order.tool, "arguments": order.arguments}
    return {"index": number, "id": call_id, "type": "function", "function": function}


def _choice(delta: Mapping[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    chunk = {"object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
