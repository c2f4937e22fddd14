"""The application: raw ASGI for the hot routes, FastAPI for the resources, one shell around both.

A raw route costs a fifth less than Starlette's and half of FastAPI's (docs/performance.md), so
those that models answer are plain ASGI callables that are looked up before any router runs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenantry import __version__
from tenantry.api import (
    approvals,
    assistants,
    audit,
    break_glass,
    budgets,
    connectors,
    conversations,
    documents,
    embedder,
    fairness,
    groups,
    health,
    jobs,
    members,
    model_policy,
    models,
    patterns,
    pools,
    provider_accounts,
    results,
    tables,
    tenants,
    usage,
)
from tenantry.api.chat import chat_completions
from tenantry.api.credentials import BOUNDARY_FIELDS, audit_error, platform_of, record_refusal
from tenantry.api.embeddings import embeddings
from tenantry.api.messages import messages
from tenantry.api.problems import problem, request_id_of, unexpected
from tenantry.api.responses import responses
from tenantry.core.errors import (
    BoundaryCrossed,
    InvalidRequest,
    NotFound,
    TenantryError,
    TooLarge,
    TooSlow,
)
from tenantry.core.ids import new_id
from tenantry.platform import Platform
from tenantry.providers.surfaces import PATHS

HotRoute = Callable[[Platform, Request, Send], Awaitable[None]]
HOT_ROUTES: Mapping[tuple[str, str], HotRoute] = {
    ("POST", PATHS["chat"]): chat_completions,
    ("POST", PATHS["responses"]): responses,
    ("POST", PATHS["messages"]): messages,
    ("POST", PATHS["embeddings"]): embeddings,
}
_FORM_BYTES = 1024 * 1024
"""What a form may have around its file."""
_SLOWEST_BYTES_PER_S = 16 * 1024
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def build_app(platform: Platform) -> ASGIApp:
    """The whole HTTP application over a running platform."""
    return Shell(platform, build_resources(platform))


def build_resources(platform: Platform | None) -> FastAPI:
    """The resource API; `platform` None builds it for its OpenAPI description alone."""
    app = FastAPI(
        title="Tenantry",
        version=__version__,
        summary="Isolated AI analysts for every tenant of a SaaS product",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.platform = platform
    for room in (
        approvals,
        health, tenants, members, groups, assistants, conversations, documents, connectors, tables,
        jobs, results, patterns, usage, budgets, fairness, audit, break_glass, pools,
        provider_accounts, model_policy, embedder, models,
    ):  # fmt: skip
        app.include_router(room.router)
    app.add_exception_handler(TenantryError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_framework_error)
    app.add_exception_handler(Exception, _on_unexpected)
    return app


class Shell:
    """Gives each request its id, answers the hot routes, and turns every error into a problem."""

    def __init__(self, platform: Platform, resources: ASGIApp) -> None:
        self._platform = platform
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event, as ASGI 3 says."""
        if scope["type"] != "http":
            await self._resources(scope, receive, send)
            return
        request_id = new_id().hex
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        guarded = _Guarded(send, request_id)
        try:
            bounded = _Bounded(receive, self._platform)
            bounded.refuse_announced(scope)
            hot = HOT_ROUTES.get((scope["method"], scope["path"]))
            if hot is not None:
                await self._answer(hot, Request(scope, bounded), guarded)
            else:
                await self._resources(scope, bounded, guarded)
        except TenantryError as error:
            await guarded.fail(error, scope, receive)
        except Exception as error:  # noqa: BLE001  # the last door before the wire
            await guarded.fail(unexpected(error, request_id), scope, receive)

    async def _answer(self, hot: HotRoute, request: Request, send: Send) -> None:
        try:
            await hot(self._platform, request, send)
        except TenantryError as error:
            await audit_error(self._platform, request, error)
            raise


class _Bounded:
    """Receives a request's body up to a limit, and no slower than another.

    What is beyond the limit is never stored anywhere; a body that trickles in holds a connection
    for a while, and nothing else.
    """

    def __init__(self, receive: Receive, platform: Platform) -> None:
        self._receive = receive
        self._most = platform.settings.max_upload_bytes + _FORM_BYTES
        self._received = 0
        self._is_whole = False
        self._clock = platform.clock
        self._due = platform.clock.monotonic() + platform.settings.body_timeout_s

    def refuse_announced(self, scope: Scope) -> None:
        """Refuse a body by the length that it announces.

        Raises:
            TooLarge: it announces more than the limit.
        """
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > self._most):
                raise TooLarge(f"A request has at most {self._most} bytes.")

    async def __call__(self) -> Message:
        if self._is_whole:
            return await self._receive()  # what follows is the client's leaving
        left_s = self._due + self._received / _SLOWEST_BYTES_PER_S - self._clock.monotonic()
        try:
            async with asyncio.timeout(left_s):
                message = await self._receive()
        except TimeoutError as error:
            raise TooSlow from error
        self._received += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._received > self._most:
            raise TooLarge(f"A request has at most {self._most} bytes.")
        return message


class _Guarded:
    """Sends a response with our headers; after an error, a problem if nothing was sent yet."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self._started = False
        self._finished = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            present = {name for name, _ in message["headers"]}
            added = [header for header in _SAFE_HEADERS if header[0] not in present]
            message["headers"] = [
                *message["headers"], *added, (b"x-request-id", self._request_id.encode())
            ]  # fmt: skip
        elif message["type"] == "http.response.body":
            self._finished = not message.get("more_body", False)
        await self._send(message)

    async def fail(self, error: TenantryError, scope: Scope, receive: Receive) -> None:
        """Answer with the error's problem document; a response under way is cut off instead."""
        if self._finished:
            return
        if self._started:
            raise error
        await problem(error, self._request_id, scope["path"])(scope, receive, self)


async def _on_error(request: Request, error: Exception) -> Response:
    known = error if isinstance(error, TenantryError) else TenantryError()
    await audit_error(platform_of(request), request, known)
    return problem(known, request_id_of(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    details: list[Any] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    for detail in details:
        name = str(detail["loc"][-1])
        if detail["type"] == "extra_forbidden" and name.lower() in BOUNDARY_FIELDS:
            ctx = request.scope["state"].get("ctx")
            if ctx is not None:
                await record_refusal(platform_of(request), ctx, "request.tenant_field", name)
            refused = BoundaryCrossed(f"A request may not say '{name}'.")
            return problem(refused, request_id_of(request))
    # The value that was sent is not repeated: it may be a secret in the wrong field.
    said = "; ".join(f"{'.'.join(str(p) for p in d['loc'])}: {d['msg']}" for d in details[:5])
    return problem(InvalidRequest(said or None), request_id_of(request))


async def _on_unexpected(request: Request, error: Exception) -> Response:
    return problem(unexpected(error, request_id_of(request)), request_id_of(request))


async def _on_framework_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    known = NotFound() if status == 404 else _framework_error(status)
    return problem(known, request_id_of(request))


def _framework_error(status: int) -> TenantryError:
    error = InvalidRequest("This method is not allowed here." if status == 405 else None)
    error.http_status = status  # type: ignore[misc]  # the framework decided on the status
    return error
