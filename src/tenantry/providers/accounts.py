"""An account opened: the door to its provider, and the model behind each of its names.

This is the one place that knows every kind of provider; a new kind is one file and one line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenantry.providers.base import ChatModel
from tenantry.providers.calls import Retry
from tenantry.providers.openai_compatible import OpenAICompatibleModel
from tenantry.providers.providers_file import AccountEntry, ModelEntry
from tenantry.providers.upstream import HttpUpstream, Patience, Upstream


@dataclass(frozen=True, slots=True)
class Account:
    """An account that can be called.

    Attributes:
        entry: what the providers file says of it; holds no key.
        upstream: its door; holds the key, and shows it in no repr.
    """

    entry: AccountEntry
    upstream: Upstream = field(repr=False)

    @property
    def patience(self) -> Patience:
        """How long to wait for it."""
        wait = self.entry.timeouts
        return Patience(wait.connect_s, wait.first_s, wait.idle_s)

    @property
    def retry(self) -> Retry:
        """How often to try it."""
        return Retry(attempts=self.entry.attempts)

    def model(self, _model: ModelEntry) -> ChatModel:
        """The implementation that answers for one of its models."""
        return OpenAICompatibleModel(
            self.upstream, self.entry.max_tokens_field, self.patience, self.retry
        )

    def raw(self, _model: ModelEntry) -> Upstream:
        """Where raw calls in OpenAI's form go for one of its models."""
        return self.upstream

    async def close(self) -> None:
        """Drop its connections."""
        await self.upstream.close()


def open_account(entry: AccountEntry, key: str, _folder: Path) -> Account:
    """The account that an entry describes; nothing is connected yet."""
    wait = entry.timeouts
    patience = Patience(wait.connect_s, wait.first_s, wait.idle_s)
    return Account(entry, HttpUpstream(entry.url, _key_headers(key), patience))


def _key_headers(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}
