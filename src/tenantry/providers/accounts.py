"""An account opened: the door to its provider, and the model behind each of its names.

This is the one place that knows every kind of provider: a new kind is one file, and lines here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenantry.providers import anthropic, google
from tenantry.providers.base import ChatModel
from tenantry.providers.bridge import BridgedUpstream
from tenantry.providers.calls import Retry
from tenantry.providers.local import LocalFile, LocalModel, check_file
from tenantry.providers.openai_compatible import CHAT_PATH, OpenAICompatibleModel
from tenantry.providers.openai_embeddings import EMBEDDINGS_PATH
from tenantry.providers.providers_file import AccountEntry, ModelEntry
from tenantry.providers.surfaces import RESPONSES_PATH, Door, Surface
from tenantry.providers.upstream import HttpUpstream, Patience, Upstream


@dataclass(frozen=True, slots=True)
class Account:
    """An account that can be called; nothing is connected or loaded before the first call.

    Attributes:
        entry: what the providers file says of it; holds no key.
        models: by name, what answers for each.
        doors: by name, where its raw calls go, by the API they are made in.
        patience: how long to wait for it.
        retry: how often to try it.
        upstream: the way out; None for what runs here.
    """

    entry: AccountEntry
    models: Mapping[str, ChatModel] = field(repr=False)
    doors: Mapping[str, Mapping[Surface, Door]] = field(repr=False)
    patience: Patience
    retry: Retry
    upstream: Upstream | None = field(repr=False)
    closers: tuple[Callable[[], Awaitable[None]], ...] = field(repr=False)

    async def close(self) -> None:
        """Drop its connections, or let go of its files."""
        for close in self.closers:
            await close()


def open_account(entry: AccountEntry, key: str, folder: Path) -> Account:
    """The account that an entry describes.

    Args:
        entry: out of the providers file.
        key: the account's key, or empty.
        folder: where relative paths begin.

    Raises:
        StartupRefused: a model's file is missing or is none.
    """
    if entry.kind == "local":
        return _local(entry, folder)
    return account_over(entry, HttpUpstream(entry.url, key_headers(entry, key), patience_of(entry)))


def account_over(entry: AccountEntry, upstream: Upstream) -> Account:
    """The account that an entry describes, reached through `upstream`, which it closes."""
    patience, retry = patience_of(entry), Retry(attempts=entry.attempts)
    model = _model(entry, upstream, patience, retry)
    names = [each.name for each in entry.models]
    models, doors = dict.fromkeys(names, model), dict.fromkeys(names, _doors(model, upstream))
    return Account(entry, models, doors, patience, retry, upstream, (upstream.close,))


def _doors(model: ChatModel, upstream: Upstream) -> Mapping[Surface, Door]:
    """What an account takes as it is; chat completions go over the bridge where they must."""
    if isinstance(model, OpenAICompatibleModel):
        return {
            "chat": Door(upstream, CHAT_PATH),
            "responses": Door(upstream, RESPONSES_PATH),
            "embeddings": Door(upstream, EMBEDDINGS_PATH),
        }
    bridged: dict[Surface, Door] = {"chat": Door(BridgedUpstream(model), CHAT_PATH)}
    if isinstance(model, anthropic.AnthropicModel):
        bridged["messages"] = Door(upstream, anthropic.MESSAGES_PATH)
    return bridged


def patience_of(entry: AccountEntry) -> Patience:
    """How long to wait for an account."""
    wait = entry.timeouts
    return Patience(wait.connect_s, wait.first_s, wait.idle_s)


def key_headers(entry: AccountEntry, key: str) -> Mapping[str, str]:
    """The headers that every call of an account carries."""
    if entry.kind == "anthropic":
        return anthropic.key_headers(key)
    if entry.kind == "google":
        return google.key_headers(key)
    return {"authorization": f"Bearer {key}"} if key else {}


def _model(entry: AccountEntry, upstream: Upstream, patience: Patience, retry: Retry) -> ChatModel:
    if entry.kind == "anthropic":
        return anthropic.AnthropicModel(upstream, patience, retry)
    if entry.kind == "google":
        return google.GoogleModel(upstream, patience, retry)
    return OpenAICompatibleModel(upstream, entry.max_tokens_field, patience, retry)


def _local(entry: AccountEntry, folder: Path) -> Account:
    models = {each.name: LocalModel(_file(each, folder)) for each in entry.models}
    doors: dict[str, Mapping[Surface, Door]] = {
        name: {"chat": Door(BridgedUpstream(model), CHAT_PATH)} for name, model in models.items()
    }
    closers = tuple(model.close for model in models.values())
    retry = Retry(attempts=entry.attempts)
    return Account(entry, models, doors, patience_of(entry), retry, None, closers)


def _file(model: ModelEntry, folder: Path) -> LocalFile:
    path = model.path or Path()  # the providers file was checked: it is there
    file = LocalFile(folder / path.expanduser(), model.context_tokens)
    check_file(file)
    return file
