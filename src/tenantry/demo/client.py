"""The demo's only door to the platform: HTTP with a key or token, as any client has it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tenantry.core.errors import TenantryError

# What differs between any two answers, whatever they are about.
_CHANGING_HEADERS = frozenset({"date", "x-request-id", "content-length"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from one request.

    Attributes:
        status: HTTP status.
        headers: by lower-case name.
        body: the parsed JSON; the text if it was none.
    """

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def request_id(self) -> str:
        """The id under which the server knows this request, also in its audit log and ledger."""
        return self.headers.get("x-request-id", "")

    @property
    def comparable(self) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and body, without what differs between any two answers."""
        headers = {k: v for k, v in self.headers.items() if k not in _CHANGING_HEADERS}
        body = self.body
        if isinstance(body, dict):
            body = {k: v for k, v in body.items() if k != "request_id"}
        return self.status, headers, body

    @property
    def summary(self) -> str:
        """The status and the error's code, for a report."""
        code = self.body.get("code") if isinstance(self.body, dict) else None
        return f"{self.status} {code}" if code else str(self.status)


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to one server with one credential."""

    session: aiohttp.ClientSession
    base_url: str
    credential: str = field(repr=False)

    def with_credential(self, credential: str) -> "Client":
        """The same server, somebody else's credential."""
        return Client(self.session, self.base_url, credential)

    async def call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Reply:
        """One request; no status is an error here.

        Args:
            method: HTTP method.
            path: from the root, with the query.
            headers: sent besides the credential.
            options: `json` or `data`, as aiohttp takes them.

        Raises:
            TenantryError: the server cannot be reached.
        """
        sent = {"authorization": f"Bearer {self.credential}", **(headers or {})}
        try:
            async with self.session.request(
                method, self.base_url + path, headers=sent, **options
            ) as response:
                is_json = "json" in response.headers.get("content-type", "")
                body = await (response.json(content_type=None) if is_json else response.text())
                lowered = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, lowered, body)
        except aiohttp.ClientConnectionError as error:
            raise TenantryError(f"No answer from {self.base_url}.") from error

    async def get(self, path: str) -> Any:
        """The JSON at `path`.

        Raises:
            TenantryError: the server refused.
        """
        return accepted(await self.call("GET", path), f"GET {path}")

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that posting `body` gives.

        Raises:
            TenantryError: the server refused.
        """
        return accepted(await self.call("POST", path, json=body), f"POST {path}")

    async def list(self, path: str) -> list[Any]:
        """Every item of a list, page after page.

        Raises:
            TenantryError: the server refused.
        """
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.get(f"{path}?cursor={cursor}" if cursor else path)
            items += page["data"]
            cursor = page.get("next_cursor")
        return items

    async def upload(
        self, path: str, filename: str, media_type: str, content: bytes, **fields: str
    ) -> Reply:
        """Post a file as multipart form data; no status is an error here."""
        form = aiohttp.FormData()
        for name, value in fields.items():
            form.add_field(name, value)
        # As a stream: a large body of bytes would hold up the loop while it is sent.
        stream = io.BytesIO(content)
        form.add_field("file", stream, filename=filename, content_type=media_type)
        return await self.call("POST", path, data=form)


def accepted(reply: Reply, what: str) -> Any:
    """The body of a reply that must not be a refusal.

    Raises:
        TenantryError: it is one; the message says what was asked and what the server said.
    """
    if reply.status >= 400:
        detail = reply.body.get("detail", "") if isinstance(reply.body, dict) else ""
        raise TenantryError(f"{what} answered {reply.summary}. {detail}".strip())
    return reply.body
