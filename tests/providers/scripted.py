"""A model provider that says what it is told, over real HTTP, and remembers everything.

It speaks OpenAI's chat completions, responses and embeddings (base URL `provider.url + "/v1"`),
Anthropic's messages (`provider.url`) and Google's generateContent (`provider.url`), runs in a
thread of its own with its own event loop, and so outlives a server under test that is killed.

    with ScriptedProvider() as provider:
        provider.queue(Reply("Hello."), refusing(500))
        ...
        assert provider.calls[0].streamed_tokens == 1
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.providers.forms import (
    GARBAGE,
    AnthropicForm,
    Form,
    GoogleForm,
    OpenAIForm,
    Turn,
    WireEvent,
    embeddings,
    packed,
)
from tests.providers.replies import COUNTED, CallOf, ProviderCall, Reply, Responder, tokens_of
from tests.providers.responses_form import ResponsesForm

MODELS = ("scripted-1", "scripted-2")
_FOREVER_S = 3600.0


class ScriptedProvider:
    """The server; a context manager. Queued replies come first, then `answer` decides."""

    def __init__(self, answer: Reply | Responder | None = None, dimension: int = 8) -> None:
        self.answer: Reply | Responder = answer or Reply("The answer is 42.")
        self.dimension = dimension
        self.calls: list[ProviderCall] = []
        self.refused_keys: set[str] = set()
        self._queued: deque[Reply] = deque()
        self._changed = threading.Condition()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10), "the scripted provider did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the scripted provider did not stop"

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._port}"

    def queue(self, *replies: Reply) -> None:
        """Answer the next calls with these."""
        with self._changed:
            self._queued.extend(replies)

    def forget(self) -> None:
        """Forget the calls so far and the replies that are queued."""
        with self._changed:
            self.calls.clear()
            self._queued.clear()
            self.answer = Reply("The answer is 42.")

    @property
    def prompts(self) -> list[str]:
        """Every text that it was ever shown, in order."""
        return [text for call in list(self.calls) for text in call.prompt]

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until something about its calls is true; the caller's loop goes on meanwhile."""

        def block() -> None:
            with self._changed:
                assert self._changed.wait_for(condition, timeout_s), "it never came true"

        await asyncio.to_thread(block)

    def accounts_file(self, key_file: str, kind: str = "openai_compatible") -> dict[str, Any]:
        """A providers file (as JSON) whose only account `scripted` leads here."""
        models = [{"name": name, "max_output_tokens": 1024} for name in MODELS]
        base = self.url + ("/v1" if kind == "openai_compatible" else "")
        account = {"name": "scripted", "kind": kind, "base_url": base, "models": models}
        return {"accounts": [account | ({"key_file": key_file} if key_file else {})]}

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application(client_max_size=256 << 20)
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/v1beta/models", self._models)
        application.router.add_post("/v1/chat/completions", self._handler(OpenAIForm()))
        application.router.add_post("/v1/responses", self._handler(ResponsesForm()))
        application.router.add_post("/v1/embeddings", self._embeddings)
        application.router.add_post("/v1/messages", self._handler(AnthropicForm()))
        google = self._handler(GoogleForm())
        application.router.add_post(r"/v1beta/models/{model}:{verb:\w+}", google)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._started.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        if self._refuses(request.headers):
            return web.json_response({"error": {"code": "invalid_api_key"}}, status=401)
        data = [{"id": name, "object": "model", "owned_by": "scripted"} for name in MODELS]
        return web.json_response({"object": "list", "data": data})

    def _refuses(self, headers: Mapping[str, str]) -> bool:
        """Whether the key is one that was withdrawn here, whichever header carries it."""
        return any(key in value for key in self.refused_keys for value in headers.values())

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        call, reply = await self._received(request)
        asked = call.body.get("input", [])
        texts = [asked] if isinstance(asked, str) else list(map(str, asked))
        call.prompt_tokens = sum(len(tokens_of(text)) for text in texts)
        if refused := await self._before(request, call, reply):
            return refused
        counted = {"prompt_tokens": call.prompt_tokens, "total_tokens": call.prompt_tokens}
        call.reported = counted if reply.usage is COUNTED else reply.usage
        if reply.fault == "garbage":
            return self._ended(call, "faulted", web.Response(body=GARBAGE))
        answer = embeddings(call.body, self.dimension, call.reported)
        if reply.fault == "wrong_shape":
            answer["data"] = [{"index": 0, "embedding": ["x"]}]
        return self._ended(call, "finished", web.json_response(answer))

    def _handler(self, form: Form) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            call, reply = await self._received(request)
            call.prompt_tokens = sum(len(tokens_of(text)) for text in form.texts(call.body))
            if refused := await self._before(request, call, reply):
                return refused
            turn = _turn(form, call, reply)
            if call.body.get("stream") or "stream" in request.match_info.get("verb", ""):
                return await self._stream(request, form, call, reply, turn)
            call.streamed_tokens = len(turn.tokens) + sum(map(_call_tokens, turn.calls))
            call.reported = turn.usage
            return self._ended(call, "finished", web.json_response(form.whole(turn)))

        return handle

    async def _received(self, request: web.Request) -> tuple[ProviderCall, Reply]:
        raw = await request.read()
        body = json.loads(raw)
        if "model" in request.match_info:
            body["model"] = request.match_info["model"]
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._changed:
            call = ProviderCall(len(self.calls) + 1, request.raw_path, headers, body, raw)
            peer = request.transport.get_extra_info("peername") if request.transport else None
            call.port = peer[1] if peer else 0
            self.calls.append(call)
            self._changed.notify_all()
            reply = self._queued.popleft() if self._queued else None
        if reply is None:
            reply = self.answer if isinstance(self.answer, Reply) else self.answer(call)
        return call, reply

    async def _before(
        self, request: web.Request, call: ProviderCall, reply: Reply
    ) -> web.StreamResponse | None:
        """What happens instead of an answer, if anything."""
        await asyncio.sleep(reply.latency_s)
        if self._refuses(call.headers):
            reply = Reply(status=401, error={"error": {"code": "invalid_api_key"}})
        if reply.status != 200:
            refused = web.json_response(reply.error, status=reply.status, headers=reply.headers)
            return self._ended(call, "refused", refused)
        if reply.fault == "silent":
            await _hang_up_of(request)
        if reply.fault == "not_http" and request.transport is not None:
            request.transport.write(b"\x00\xffnot http at all\r\n\r\n")
        if reply.fault in {"hang_up", "not_http", "silent"}:
            return self._hung_up(request, call)
        if reply.fault == "html":
            page = web.Response(text="<html>Welcome to the hotel</html>", content_type="text/html")
            return self._ended(call, "faulted", page)
        return None

    async def _stream(
        self, request: web.Request, form: Form, call: ProviderCall, reply: Reply, turn: Turn
    ) -> web.StreamResponse:
        headers = {"content-type": "text/event-stream", **reply.headers}
        response = web.StreamResponse(headers=headers)
        wire, outcome = _Wire(response, reply), "finished"
        try:
            await response.prepare(request)
            for event in form.events(turn):
                if reply.fault and call.streamed_tokens >= reply.fault_after:
                    outcome = "faulted"
                    await self._misbehave(request, form, reply, wire)
                    break
                # Counted first: a provider charges for what it produced, delivered or not.
                with self._changed:
                    call.streamed_tokens += event.tokens
                    call.reported = turn.usage if event.has_usage else call.reported
                    self._changed.notify_all()
                await wire.send(event)
                if event.tokens:
                    await asyncio.sleep(reply.token_s)
            self._ended(call, outcome, response)  # before the client can know that it ended
            await response.write_eof()
        except ConnectionError:
            outcome = "faulted" if reply.fault == "cut" else "disconnected"
        return self._ended(call, outcome, response)

    async def _misbehave(
        self, request: web.Request, form: Form, reply: Reply, wire: "_Wire"
    ) -> None:
        if reply.fault == "cut" and request.transport is not None:
            request.transport.abort()
            raise ConnectionResetError
        if reply.fault == "stall":
            await _hang_up_of(request)
            raise ConnectionResetError
        wrong = {
            "garbage": WireEvent(GARBAGE),
            "wrong_shape": WireEvent(packed(form.wrong())),
            "error_event": form.failure(),
            "huge_event": WireEvent(b'{"x":"' + b"x" * (4 << 20) + b'"}'),
        }
        if reply.fault in wrong:
            await wire.send(wrong[reply.fault])
        drops = {"endless": b"data: {}\n\n", "drip": b"x", "comments": b": still here\n\n"}
        while reply.fault in drops:
            await wire.raw(drops[reply.fault])
            await asyncio.sleep(0 if reply.fault == "endless" else 0.01)

    def _hung_up(self, request: web.Request, call: ProviderCall) -> web.StreamResponse:
        gone = request.transport is None or request.transport.is_closing()
        if request.transport is not None:
            request.transport.close()
        return self._ended(call, "disconnected" if gone else "faulted", web.Response())

    def _ended(
        self, call: ProviderCall, outcome: str, response: web.StreamResponse
    ) -> web.StreamResponse:
        with self._changed:
            call.outcome = outcome
            self._changed.notify_all()
        return response


class _Wire:
    """Writes events the way the reply wants them cut."""

    def __init__(self, response: web.StreamResponse, reply: Reply) -> None:
        self._response = response
        self._newline = reply.newline.encode()
        self._piece = reply.piece

    async def send(self, event: WireEvent) -> None:
        end = self._newline
        name = b"event: " + event.name.encode() + end if event.name else b""
        await self.raw(name + b"data: " + event.data + end + end)

    async def raw(self, data: bytes) -> None:
        size = self._piece or len(data)
        for start in range(0, len(data), size):
            await self._response.write(data[start : start + size])
            if self._piece:
                await asyncio.sleep(0)


async def _hang_up_of(request: web.Request) -> None:
    """Wait until the client has gone; only asking the transport tells."""
    while (transport := request.transport) is not None:
        if transport.is_closing():
            return
        await asyncio.sleep(0.005)


def _turn(form: Form, call: ProviderCall, reply: Reply) -> Turn:
    """The answer, cut to the bound that the caller set, with the usage to report."""
    bound = form.bound(call.body) if reply.obey_bound else None
    tokens, calls = tuple(tokens_of(reply.text)), reply.calls
    finish = "tool_calls" if calls else "stop"
    whole = len(tokens) + sum(map(_call_tokens, calls)) + reply.reasoning
    if bound is not None and whole > bound:
        tokens, calls, finish = tokens[: max(0, bound - reply.reasoning)], (), "length"
    given = tuple(
        CallOf(c.name, c.arguments, c.id or f"call_{call.number}_{index}")
        for index, c in enumerate(calls)
    )
    output = len(tokens) + sum(map(_call_tokens, given)) + reply.reasoning
    counted = form.usage(call.prompt_tokens, output, reply.cached, reply.reasoning)
    usage = counted if reply.usage is COUNTED else reply.usage
    if isinstance(form, OpenAIForm) and not _wants_usage(call.body):
        usage = None
    return Turn(call.number, call.model, tokens, given, reply.finish or finish, usage)


def _wants_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return not body.get("stream") or (isinstance(options, dict) and bool(options["include_usage"]))


def _call_tokens(call: CallOf) -> int:
    return len(tokens_of(call.name)) + len(tokens_of(call.arguments))
