"""The real HTTP server over a test's database, and clients that speak to it as anybody would."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import psycopg

from tenantry.api.serving import serving
from tenantry.core.ids import TenantId
from tenantry.core.settings import Settings
from tenantry.platform import Platform, open_platform
from tenantry.security.scopes import OPERATOR_SCOPES
from tests.worlds import Cluster


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers and the parsed JSON (or text)."""

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: bytes = field(repr=False)

    @property
    def comparable(self) -> tuple[int, list[str], Any]:
        """The answer without what differs between any two requests: their ids and dates."""
        body = dict(self.body) if isinstance(self.body, dict) else self.body
        if isinstance(body, dict):
            body.pop("request_id", None)
        return self.status, sorted(k.lower() for k in self.headers), body


@dataclass(frozen=True)
class ApiClient:
    """Calls the server with one credential."""

    base_url: str
    credential: str = field(repr=False, default="")

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """One request; never raises for a status."""
        headers = dict(options.pop("headers", {}))
        if self.credential:
            headers.setdefault("authorization", f"Bearer {self.credential}")
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.base_url + path, headers=headers, **options) as response,
        ):
            raw = await response.read()
            is_json = "json" in response.headers.get("content-type", "")
            body = await response.json(content_type=None) if is_json else raw.decode()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, body, raw)

    async def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        """POST a JSON body."""
        return await self.call("POST", path, json=json, **options)

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self.call("DELETE", path)

    async def upload(
        self, path: str, name: str, content: bytes, fields: Mapping[str, str] | None = None
    ) -> Answer:
        """POST a file as multipart form data."""
        form = aiohttp.FormData()
        for field_name, value in (fields or {}).items():
            form.add_field(field_name, value)
        form.add_field("file", io.BytesIO(content), filename=name)
        return await self.call("POST", path, data=form)

    async def ask(self, question: str, model: str = "analyst", **extra: Any) -> Answer:
        """One question, not streamed."""
        messages = [{"role": "user", "content": question}]
        return await self.post(
            "/v1/chat/completions", {"model": model, "messages": messages, **extra}
        )


@dataclass
class Service:
    """A served platform with two tenants, each with an owner's key."""

    platform: Platform
    base_url: str
    operator: ApiClient
    acme: ApiClient
    globex: ApiClient
    tenants: dict[str, Any]
    database: str
    cluster: Cluster

    def admin(self) -> psycopg.Connection[Any]:
        """A superuser's connection: sees past row-level security. Close it (use `with`)."""
        return psycopg.connect(self.cluster.admin_url(self.database), autocommit=True)

    def tenants_id(self, name: str) -> TenantId:
        """The id of acme or globex."""
        return TenantId(UUID(self.tenants[name]["tenant"]["id"]))

    def client(self, credential: str = "") -> ApiClient:
        """A client with any credential."""
        return ApiClient(self.base_url, credential)

    @classmethod
    @asynccontextmanager
    async def create(
        cls, cluster: Cluster, data_dir: Path, providers_file: Path | None = None, **settings: Any
    ) -> AsyncIterator["Service"]:
        """Serve a fresh database over a real socket, with tenants acme and globex."""
        database = cluster.create_database()
        configured = Settings(
            data_dir=data_dir,
            database_url=cluster.admin_url(database),
            secrets_file=cluster.secrets_path,
            providers_file=providers_file,
            **settings,
        )
        try:
            async with (
                open_platform(configured) as platform,
                serving(platform, "127.0.0.1", 0) as server,
            ):
                base_url = server.url
                everything = OPERATOR_SCOPES
                key = (await platform.operators.create_key("test", everything)).reveal()
                operator = ApiClient(base_url, key)
                made = {n: await _tenant(operator, n) for n in ("acme", "globex")}
                yield cls(
                    platform=platform,
                    base_url=base_url,
                    operator=operator,
                    acme=ApiClient(base_url, made["acme"]["api_key"]),
                    globex=ApiClient(base_url, made["globex"]["api_key"]),
                    tenants=made,
                    database=database,
                    cluster=cluster,
                )
        finally:
            cluster.drop_database(database)


@asynccontextmanager
async def serving_client(platform: Platform) -> AsyncIterator[tuple[ApiClient, str]]:
    """Serve a platform; an operator's client and the key of a new tenant, acme."""
    key = (await platform.operators.create_key("test")).reveal()
    async with serving(platform, "127.0.0.1", 0) as server:
        operator = ApiClient(server.url, key)
        yield operator, (await _tenant(operator, "acme"))["api_key"]


async def _tenant(operator: ApiClient, name: str) -> Any:
    body = {"name": name, "owner": {"external_id": f"{name}-owner"}}
    created = await operator.post("/v1/tenants", body)
    assert created.status == 201, created.body
    return created.body
