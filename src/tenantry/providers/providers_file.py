"""The providers file: which accounts and models a deployment offers, as checked values.

Keys never stand in the file itself: an account names an environment variable or a file that holds
its key. A field that is not known is refused, so that a misspelt limit is not silently no limit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tenantry.core.errors import StartupRefused

Kind = Literal["openai_compatible", "anthropic", "google", "local"]
_BASE_URLS: Mapping[Kind, str] = {
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}
_Seconds = Annotated[float, Field(gt=0, le=3600)]
_Cosine = Annotated[float, Field(ge=-1, le=1)]
_MOST_FILE_BYTES = 1 << 20


class _Entry(BaseModel):
    # The input is hidden from messages: somebody will write a key into the wrong field.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ModelEntry(_Entry):
    """A model of an account.

    Attributes:
        name: what clients write after the account's name and a slash.
        upstream: the provider's own name of it; `name` unless given.
        kind: `chat`, or `embedding` for models that only embed.
        max_output_tokens: the most it may produce in one call; always sent upstream.
        path: GGUF file, for accounts of kind `local`.
        context_tokens: prompt and answer together, for accounts of kind `local`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$")
    upstream: str = Field(default="", max_length=256)
    kind: Literal["chat", "embedding"] = "chat"
    max_output_tokens: int = Field(default=4096, ge=1, le=10_000_000)
    path: Path | None = None
    context_tokens: int = Field(default=4096, ge=256, le=10_000_000)

    @property
    def upstream_name(self) -> str:
        """The provider's own name of the model."""
        return self.upstream or self.name


class TimeoutsEntry(_Entry):
    """How long to wait, in seconds; see `upstream.Patience`."""

    connect_s: _Seconds = 5.0
    first_s: _Seconds = 60.0
    idle_s: _Seconds = 60.0


class ConcurrencyEntry(_Entry):
    """How many calls the account bears at once, and how long calls may queue for their turn.

    Attributes:
        min: calls at once, however much it complains.
        max: calls at once, however well it goes.
        start: calls at once to begin with; 64, or what `min` and `max` allow of it, unless given.
        queue: calls of one tenant that may wait.
        wait_s: how long one of them may wait.
    """

    min: int = Field(default=4, ge=1, le=10_000)
    max: int = Field(default=256, ge=1, le=10_000)
    start: int | None = Field(default=None, ge=1, le=10_000)
    queue: int = Field(default=64, ge=1, le=10_000)
    wait_s: _Seconds = 30.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.min <= self.first <= self.max:
            raise ValueError("concurrency must be min <= start <= max")
        return self

    @property
    def first(self) -> int:
        """Calls at once to begin with."""
        return max(self.min, min(64, self.max)) if self.start is None else self.start


class AccountEntry(_Entry):
    """One account: a base URL, a key and the models behind them.

    Attributes:
        name: what clients write before the slash; also the price book's key unless `provider`.
        kind: the protocol it speaks.
        provider: the price book's key, where that is not `name`.
        base_url: up to where the paths begin, such as `https://api.openai.com/v1`; Anthropic and
            Google have theirs by default.
        key_env: environment variable that holds the key.
        key_file: file that holds the key; a relative path starts at the providers file.
        max_tokens_field: what an OpenAI-compatible server calls the output bound.
        timeouts: how long to wait for it.
        attempts: calls made in all when it says that it cannot answer just now.
        concurrency: how many calls it bears at once.
        models: what it offers.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    kind: Kind
    provider: str = Field(default="", pattern=r"^[a-z0-9_-]{0,63}$")
    base_url: str = ""
    key_env: str = Field(default="", pattern=r"^[A-Za-z0-9_]*$")
    key_file: Path | None = None
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    timeouts: TimeoutsEntry = TimeoutsEntry()
    attempts: int = Field(default=3, ge=1, le=10)
    concurrency: ConcurrencyEntry = ConcurrencyEntry()
    models: tuple[ModelEntry, ...] = Field(min_length=1)

    @property
    def price_key(self) -> str:
        """The price book's key."""
        return self.provider or self.name

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return (self.base_url or _BASE_URLS.get(self.kind, "")).rstrip("/")

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name == "keyless":
            raise ValueError("this name belongs to the built-in answerer")
        return name

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.key_env and self.key_file:
            raise ValueError("key_env and key_file exclude each other")
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError("two models of an account have the same name")
        local = self.kind == "local"
        if local and (self.base_url or any(model.path is None for model in self.models)):
            raise ValueError("a local account has no base_url, and each model has a path")
        if self.kind != "openai_compatible" and any(m.kind != "chat" for m in self.models):
            raise ValueError("only an openai_compatible account has embedding models")
        if not local and not _is_base_url(self.url):
            raise ValueError("base_url must be http(s)://host[:port][/path]")
        return self


class PoolMemberEntry(_Entry):
    """An account of a pool, and its share of the calls."""

    account: str
    weight: int = Field(default=1, ge=1, le=1000)


class PoolEntry(_Entry):
    """Several accounts under one name, over which calls are spread.

    Attributes:
        name: what clients write before the slash.
        accounts: at least two; a model is spread over those of them that list it.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    accounts: tuple[PoolMemberEntry, ...] = Field(min_length=2, max_length=100)


class ThresholdsEntry(_Entry):
    """From which cosine similarity on the keyless answerer answers; see `keyless.Thresholds`."""

    same_words: _Cosine
    some_words: _Cosine
    one_word: _Cosine
    sentence: _Cosine
    margin: _Cosine = 0.015


class EmbedderEntry(_Entry):
    """The embedder of the whole deployment, in place of the embedded one.

    Attributes:
        account: an account of kind `openai_compatible` in the same file.
        model: one of that account's models of kind `embedding`.
        dimension: length of its vectors.
        query_prefix: put before questions, for models that were trained so.
        passage_prefix: put before passages.
        bytes_per_token: bytes of text that make a token, on average, for counting.
    """

    account: str
    model: str
    dimension: int = Field(ge=1, le=16_000)
    query_prefix: str = ""
    passage_prefix: str = ""
    bytes_per_token: float = Field(default=3.0, gt=0.1, le=16)


class RerankerEntry(_Entry):
    """A model that reads passages again before an answer; see `providers.rerank`.

    Attributes:
        account: an account of kind `openai_compatible` in the same file, with one model at least.
        model: the provider's own name of the reranker.
    """

    account: str
    model: str = Field(min_length=1, max_length=200)


class ProvidersFile(_Entry):
    """The whole file; without one, a deployment has the keyless answerer and its own embedder."""

    accounts: tuple[AccountEntry, ...] = ()
    pools: tuple[PoolEntry, ...] = ()
    embedder: EmbedderEntry | None = None
    reranker: RerankerEntry | None = None
    keyless: ThresholdsEntry | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [account.name for account in self.accounts]
        if len(set(names)) < len(names):
            raise ValueError("two accounts have the same name")
        self._check_pools()
        if self.embedder is not None and self.keyless is None:
            # Cosines of one embedder mean nothing for another: no default can be right.
            raise ValueError("an embedder of your own needs thresholds under `keyless`")
        return self

    def _check_pools(self) -> None:
        accounts = {account.name: account for account in self.accounts}
        taken = {"keyless", *accounts}
        for pool in self.pools:
            if pool.name in taken:
                raise ValueError(f"the pool {pool.name} has the name of something else")
            taken.add(pool.name)
            members = [member.account for member in pool.accounts]
            if len(set(members)) < len(members) or not accounts.keys() >= set(members):
                raise ValueError(f"the pool {pool.name} names an account twice, or an unknown one")
            kinds = {(m.name, m.kind) for name in members for m in accounts[name].models}
            if len({name for name, _ in kinds}) < len(kinds):
                raise ValueError(f"the pool {pool.name} has a model of two kinds")


def read_providers_file(path: Path) -> ProvidersFile:
    """The file's content; relative paths in it are resolved from its folder.

    Raises:
        StartupRefused: it cannot be read, or something in it is not as it must be.
    """
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MOST_FILE_BYTES))
    except (OSError, ValueError) as error:
        raise StartupRefused(f"The providers file {path} cannot be read as JSON.") from error
    try:
        return ProvidersFile.model_validate(data)
    except ValidationError as error:
        raise StartupRefused(
            f"The providers file {path} is not valid: {faults_of(error)}"
        ) from None


def read_key(account: AccountEntry, folder: Path, environ: Mapping[str, str]) -> str:
    """The account's key, or empty when it names none.

    Raises:
        StartupRefused: the variable or the file is missing or holds no key.
    """
    where = f"Account {account.name}: "
    if account.key_env:
        key = environ.get(account.key_env, "").strip()
        where += f"the environment variable {account.key_env}"
    elif account.key_file is not None:
        path = folder / account.key_file.expanduser()
        where += f"the file {path}"
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StartupRefused(f"{where} cannot be read.") from error
    else:
        return ""
    if not is_key(key):
        raise StartupRefused(f"{where} holds no key.")
    return key


def is_key(text: str) -> bool:
    """Whether this can be a key: it goes into a header as it is."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _is_base_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return False
    plain = not (url.query or url.fragment or url.username or url.password)
    return url.scheme in {"http", "https"} and bool(host) and plain and text.isascii()


def faults_of(error: ValidationError) -> str:
    """What is wrong, field by field; never what was given."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in faults[:5]]
    return "; ".join(told) + "."
