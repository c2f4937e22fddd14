"""The command line's HTTP client: the public API with a key, nothing else."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import click

DEFAULT_URL = "http://127.0.0.1:8080"
_PAGE = 500
_TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=10)


@dataclass(frozen=True, slots=True)
class Client:
    """Calls one server with one credential."""

    base_url: str
    credential: str = field(repr=False)

    @classmethod
    def from_environment(cls, variable: str = "TENANTRY_API_KEY") -> "Client":
        """A client with the key in the environment variable `variable`.

        Raises:
            click.UsageError: it is not set.
        """
        credential = from_environment(variable)
        return cls(os.environ.get("TENANTRY_BASE_URL", DEFAULT_URL).rstrip("/"), credential)

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """GET a JSON document."""
        return asyncio.run(self.call("GET", path, params=query))

    def every(self, path: str) -> Iterator[dict[str, Any]]:
        """Every item of a list that comes in pages."""
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=_PAGE, **cursor)
            yield from page["data"]
            if not page.get("next_cursor"):
                return
            cursor = {"cursor": page["next_cursor"]}

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST a JSON document."""
        return asyncio.run(self.call("POST", path, json=body or {}))

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT a JSON document."""
        return asyncio.run(self.call("PUT", path, json=body))

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH a JSON document."""
        return asyncio.run(self.call("PATCH", path, json=body))

    def delete(self, path: str) -> None:
        """DELETE a resource."""
        asyncio.run(self.call("DELETE", path))

    def upload(
        self, path: str, name: str, content: bytes, fields: Mapping[str, str | Sequence[str]]
    ) -> dict[str, Any]:
        """POST a file as multipart form data; a field of several values is repeated."""
        form = aiohttp.FormData()
        for field_name, given in fields.items():
            for value in [given] if isinstance(given, str) else given:
                form.add_field(field_name, value)
        form.add_field("file", io.BytesIO(content), filename=name)
        return asyncio.run(self.call("POST", path, data=form))

    def send(self, path: str, content: bytes, media_type: str) -> dict[str, Any]:
        """POST bytes as they are."""
        headers = {"content-type": media_type}
        return asyncio.run(self.call("POST", path, data=content, headers=headers))

    def download(self, path: str) -> bytes:
        """GET bytes as they are."""
        return asyncio.run(self._download(path))

    async def _download(self, path: str) -> bytes:
        async with self.open("GET", path) as response:
            return await response.read()

    async def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """One call; the JSON answer, or an empty object.

        Raises:
            click.ClickException: the server refused or cannot be reached.
        """
        async with self.open(method, path, **options) as response:
            if response.status == 204:
                return {}
            answer: dict[str, Any] = await response.json()
            return answer

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[str]:
        """POST and give the data of each server-sent event."""
        async with self.open("POST", path, json=body) as response:
            async for line in response.content:
                text = line.decode().strip()
                if text.startswith("data: "):
                    yield text.removeprefix("data: ")

    @asynccontextmanager
    async def open(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One call, as a response whose body is still to be read.

        Raises:
            click.ClickException: the server refused or cannot be reached.
        """
        headers = {"authorization": f"Bearer {self.credential}", **options.pop("headers", {})}
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
                session.request(method, self.base_url + path, **options) as response,
            ):
                if response.status >= 400:
                    raise click.ClickException(await _reason(response))
                yield response
        except aiohttp.ClientConnectionError as error:
            raise click.ClickException(
                f"No answer from {self.base_url}. Is `tenantry serve` running?"
            ) from error


def from_environment(variable: str) -> str:
    """The text of an environment variable.

    Raises:
        click.UsageError: it is not set, or empty.
    """
    found = os.environ.get(variable, "")
    if not found:
        raise click.UsageError(f"Set {variable}.")
    return found


async def _reason(response: aiohttp.ClientResponse) -> str:
    try:
        problem = await response.json(content_type=None)
        return f"{problem['detail']} ({response.status} {problem['code']})"
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status}."
