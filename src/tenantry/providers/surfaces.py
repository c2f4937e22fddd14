"""The APIs that a raw model can be asked by, and the door that each of them has at an account."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tenantry.providers.upstream import Upstream

Surface = Literal["chat", "responses", "messages", "embeddings"]
PATHS: Mapping[Surface, str] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
}
"""Where each is served here."""
RESPONSES_PATH = "/responses"


@dataclass(frozen=True, slots=True)
class Door:
    """Where calls of one API go at one account: the way out, and the path below its base URL."""

    upstream: Upstream = field(repr=False)
    path: str
