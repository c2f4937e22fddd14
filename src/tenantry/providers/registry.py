"""Every model and embedder of a deployment by name, built once from the providers file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenantry.core.errors import NotFound, StartupRefused
from tenantry.fairness.accounts import AccountTerms, Own
from tenantry.fairness.capacity import Capacity
from tenantry.fairness.concurrency import Bounds
from tenantry.providers.accounts import Account, open_account
from tenantry.providers.base import Embedder, ModelRoute, UpstreamAccount
from tenantry.providers.fair_embedder import PROCESSORS, FairEmbedder, processors_terms
from tenantry.providers.keyless import KeylessAnswerer, Thresholds
from tenantry.providers.matching import Likeness
from tenantry.providers.openai_embeddings import EmbeddingModel, OpenAICompatibleEmbedder
from tenantry.providers.pooled import PooledRoute, pooled
from tenantry.providers.providers_file import (
    EmbedderEntry,
    PoolEntry,
    ProvidersFile,
    RerankerEntry,
    ThresholdsEntry,
    read_key,
    read_providers_file,
)
from tenantry.providers.rerank import HttpReranker, Reranker
from tenantry.providers.routes import RawRoute, chat_routes, raw_routes

KEYLESS = "keyless"
_KEYLESS_MOST_TOKENS = 4096


class ProviderRegistry:
    """Resolves model names; owns the connections of all accounts.

    The providers file is JSON:

        {"accounts": [
           {"name": "openai", "kind": "openai_compatible",
            "base_url": "https://api.openai.com/v1", "key_env": "OPENAI_API_KEY",
            "models": [{"name": "gpt-5-mini", "max_output_tokens": 16384},
                       {"name": "text-embedding-3-small", "kind": "embedding"}]},
           {"name": "vllm", "kind": "openai_compatible", "base_url": "http://10.0.0.7:8000/v1",
            "max_tokens_field": "max_tokens", "timeouts": {"first_s": 120},
            "concurrency": {"min": 4, "max": 32, "start": 16},
            "models": [{"name": "qwen", "upstream": "Qwen/Qwen3-8B"}]},
           {"name": "anthropic", "kind": "anthropic", "key_file": "anthropic.key",
            "models": [{"name": "claude-sonnet-4-5"}]},
           {"name": "google", "kind": "google", "key_env": "GEMINI_API_KEY",
            "models": [{"name": "gemini-2.5-flash"}]},
           {"name": "local", "kind": "local",
            "models": [{"name": "smol", "path": "smollm2.gguf", "context_tokens": 8192}]}],
         "pools": [{"name": "fleet", "accounts": [{"account": "openai", "weight": 3},
                                                  {"account": "vllm"}]}],
         "embedder": {"account": "openai", "model": "text-embedding-3-small", "dimension": 1536},
         "keyless": {"same_words": 0.8, "some_words": 0.85, "one_word": 0.95, "sentence": 0.5}}

    Every part may be left out; `providers_file` documents each field. A model is named
    `account/model`; the built-in answerer is named `keyless` and is always there. Keys are named
    by `key_env` or `key_file`, never written into the file, and are in no repr.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        embedder: Embedder,
        thresholds: Thresholds | None = None,
        reranker: Reranker | None = None,
        pools: Sequence[PoolEntry] = (),
    ) -> None:
        self.reranker = reranker
        self._accounts = dict(accounts)
        self._embedder = embedder
        self.embedded = embedder
        self.embeds_with: UpstreamAccount | Own = PROCESSORS
        answerer = KeylessAnswerer(embedder, thresholds)
        own = UpstreamAccount(KEYLESS)
        self._routes = {
            KEYLESS: ModelRoute(KEYLESS, KEYLESS, KEYLESS, answerer, own, _KEYLESS_MOST_TOKENS)
        }
        self._raw: dict[str, RawRoute] = {}
        for account in accounts.values():
            identity = UpstreamAccount(account.entry.name)
            self._routes |= {route.name: route for route in chat_routes(account, identity)}
            self._raw |= {route.name: route for route in raw_routes(account, identity)}
        self._pooled: dict[str, PooledRoute[ModelRoute]] = {}
        self._raw_pooled: dict[str, PooledRoute[RawRoute]] = {}
        for pool in pools:
            self._pooled |= pooled(pool, accounts, chat_routes)
            self._raw_pooled |= pooled(pool, accounts, raw_routes)

    @classmethod
    def from_file(
        cls, path: Path | None, embedded: Embedder, environ: Mapping[str, str] = os.environ
    ) -> "ProviderRegistry":
        """The registry that a providers file describes; without a file, keyless and embedded.

        Args:
            path: the file.
            embedded: the embedder unless the file names another.
            environ: where keys named by `key_env` are.

        Raises:
            StartupRefused: the file, or a key it names, is not as it must be.
        """
        if path is None:
            return cls({}, embedded)
        listed = read_providers_file(path)
        accounts = {
            entry.name: open_account(entry, read_key(entry, path.parent, environ), path.parent)
            for entry in listed.accounts
        }
        embedder = _embedder(listed.embedder, accounts) if listed.embedder else embedded
        reranker = _reranker(listed.reranker, accounts) if listed.reranker else None
        registry = cls(accounts, embedder, _thresholds(listed), reranker, listed.pools)
        registry.embedded = embedded
        if listed.embedder:
            registry.embeds_with = UpstreamAccount(listed.embedder.account)
        return registry

    @property
    def embedder(self) -> Embedder:
        """The one embedder of the deployment; vectors of two are never mixed."""
        return self._embedder

    def fair_embedder(self, capacity: Capacity) -> FairEmbedder:
        """The embedder for passages of many tenants, in turns."""
        return FairEmbedder(self._embedder, capacity, self.embeds_with)

    def embedded_in_turns(self, capacity: Capacity) -> FairEmbedder:
        """The embedder that comes with the package, for passages of many tenants, in turns."""
        return FairEmbedder(self.embedded, capacity)

    def routes(self) -> tuple[ModelRoute, ...]:
        """Every model of an account that can answer, the keyless answerer first."""
        return tuple(self._routes.values())

    def resolve(self, model_name: str) -> ModelRoute:
        """Where a model's name leads; for a pool's, where the next call does.

        Raises:
            NotFound: no model of that name can answer here.
        """
        if model_name in self._pooled:
            return self._pooled[model_name].next()
        if model_name not in self._routes:
            raise NotFound("There is no such model here.")
        return self._routes[model_name]

    def raw_names(self) -> tuple[str, ...]:
        """Names of the models that take raw calls."""
        return (*self._raw, *self._raw_pooled)

    def resolve_raw(self, model_name: str) -> RawRoute:
        """Where a raw model's calls go; for a pool's, where the next one does.

        Raises:
            NotFound: no model of that name takes raw calls.
        """
        if model_name in self._raw_pooled:
            return self._raw_pooled[model_name].next()
        if model_name not in self._raw:
            raise NotFound("There is no such model here.")
        return self._raw[model_name]

    def terms(self) -> dict[str, AccountTerms]:
        """What each account bears at once, by its name."""
        entries = {name: account.entry.concurrency for name, account in self._accounts.items()}
        terms = {
            name: AccountTerms(Bounds(it.min, it.max, it.first), it.queue, it.wait_s)
            for name, it in entries.items()
        }
        return {**terms, **processors_terms()}

    async def close(self) -> None:
        """Drop every connection, and let go of local models."""
        for account in self._accounts.values():
            await account.close()


def _embedder(entry: EmbedderEntry, accounts: Mapping[str, Account]) -> Embedder:
    account = accounts.get(entry.account)
    if account is None or account.entry.kind != "openai_compatible":
        raise StartupRefused("embedder.account must name an account of kind openai_compatible.")
    known = {model.name: model for model in account.entry.models if model.kind == "embedding"}
    if entry.model not in known:
        raise StartupRefused("embedder.model must name a model of kind embedding of its account.")
    model = EmbeddingModel(
        f"{entry.account}/{entry.model}",
        known[entry.model].upstream_name,
        entry.dimension,
        entry.query_prefix,
        entry.passage_prefix,
        bytes_per_token=entry.bytes_per_token,
    )
    return OpenAICompatibleEmbedder(
        account.doors[entry.model]["embeddings"].upstream, model, account.patience, account.retry
    )


def _reranker(entry: RerankerEntry, accounts: Mapping[str, Account]) -> Reranker:
    account = accounts.get(entry.account)
    if account is None or account.entry.kind != "openai_compatible" or not account.doors:
        raise StartupRefused(
            "reranker.account must name an account of kind openai_compatible with a model."
        )
    doors = next(iter(account.doors.values()))
    name = f"{entry.account}/{entry.model}"
    return HttpReranker(
        doors["embeddings"].upstream, name, entry.model, account.patience, account.retry
    )


def _thresholds(listed: ProvidersFile) -> Thresholds | None:
    entry: ThresholdsEntry | None = listed.keyless
    if entry is None:
        return None
    likeness = Likeness(entry.same_words, entry.some_words, entry.one_word)
    return Thresholds(likeness, entry.sentence, entry.margin)
