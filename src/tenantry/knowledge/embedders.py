"""Which embedder makes a tenant's vectors, and which makes those of the version to come.

The deployment has one embedder, which every tenant uses unless it chose another model. A tenant
that uses the deployment's goes on with its own version when that changes, until its passages are
embedded anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tenantry.core.errors import NotFound, StoreUnavailable, TenantryError
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.knowledge.chunk import Chunk
from tenantry.providers.base import TenantEmbedder
from tenantry.vectors.versions import Choice, Version, Versions, versions_of

Route = Callable[[TenantContext, Choice], Awaitable[TenantEmbedder]]
"""What makes vectors of a choice that is not the deployment's own embedder."""
Vectors = Mapping[tuple[str, str], NDArray[np.float32]]
Note = Callable[[int, int], None]
BATCH = 32
"""Passages that are embedded before others of the tenant may go on."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A version and what embeds for it; version 0 of a tenant that has none yet.

    Attributes:
        number: of the version.
        choice: what makes its vectors.
        embedder: the same, ready to be called.
    """

    number: int
    choice: Choice
    embedder: TenantEmbedder = field(repr=False)

    def makes(self, version: Version) -> bool:
        """Whether its vectors are that version's."""
        return (self.number or 1, self.choice) == (version.number, version.choice)


class Embedders:
    """Resolves embedders, for one tenant at a time."""

    def __init__(
        self,
        db: Database,
        default: TenantEmbedder,
        route: Route | None = None,
        embedded: TenantEmbedder | None = None,
    ) -> None:
        """With the deployment's embedder, what leads to models, and what comes with the package.

        Attributes:
            default: what a tenant has that chose nothing.
            embedded: what runs here, whatever the deployment's is.
        """
        self._db = db
        self._route = route
        self.default = default
        self.embedded = embedded or default

    @property
    def default_choice(self) -> Choice:
        """What a tenant has that chose nothing."""
        return Choice(self.default.name, self.default.dimension, is_default=True)

    @property
    def embedded_choice(self) -> Choice:
        """The embedder that comes with the package."""
        return Choice(self.embedded.name, self.embedded.dimension)

    async def versions(self, ctx: TenantContext) -> Versions:
        """What the tenant has now."""
        async with self._db.tenant(ctx) as tx:
            return await versions_of(tx)

    async def active(self, ctx: TenantContext) -> Chosen:
        """What embeds the tenant's questions.

        Raises:
            NotFound, ModelNotAllowed, AccountRemoved: its model cannot be called any more.
            SecretUnreadable, VaultUnavailable: the key of the tenant's own account does not open.
        """
        return await self._chosen(ctx, (await self.versions(ctx)).active)

    async def every(self, ctx: TenantContext) -> Sequence[Chosen]:
        """What embeds the tenant's new passages: for the active version, and for the next.

        The next one's is left out when it cannot be called: what prepares it finds what it missed.

        Raises:
            NotFound, ModelNotAllowed, AccountRemoved, SecretUnreadable, VaultUnavailable: as for
                `active`.
        """
        versions = await self.versions(ctx)
        found = [await self._chosen(ctx, versions.active)]
        if versions.preparing is not None:
            with later():
                found.append(await self._chosen(ctx, versions.preparing))
        return found

    async def of(self, ctx: TenantContext, choice: Choice) -> TenantEmbedder:
        """What makes the vectors of a choice.

        Raises:
            NotFound, ModelNotAllowed, AccountRemoved, SecretUnreadable, VaultUnavailable: as for
                `active`.
        """
        if replace(choice, is_default=True) == self.default_choice:
            return self.default
        if choice == self.embedded_choice:
            return self.embedded
        if self._route is None:
            raise NotFound(f"There is no embedder {choice.embedder} here any more.")
        return await self._route(ctx, choice)

    async def _chosen(self, ctx: TenantContext, version: Version | None) -> Chosen:
        if version is None:
            return Chosen(0, self.default_choice, self.default)
        return Chosen(version.number, version.choice, await self.of(ctx, version.choice))


@dataclass(frozen=True, slots=True)
class Embedded:
    """What was embedded for one version.

    Attributes:
        by: what embedded it.
        vectors: by heading and text of the passage.
        tokens: what it took, where that is still to be entered into the ledger.
    """

    by: Chosen
    vectors: Vectors = field(repr=False)
    tokens: int


async def embed_chunks(
    ctx: TenantContext, by: Chosen, chunks: Sequence[Chunk], known: Vectors, note: Note
) -> Embedded:
    """The vectors of passages, where they are not known already.

    Args:
        ctx: the tenant.
        by: for which version, and what embeds for it.
        chunks: the passages.
        known: vectors of the same version, by heading and text.
        note: told how many of the passages have vectors.

    Raises:
        TenantryError: the embedder failed, or may not be called.
    """
    vectors, tokens = dict(known), 0
    changed = [chunk for chunk in chunks if (chunk.heading, chunk.text) not in vectors]
    kept = len(chunks) - len(changed)
    for start in range(0, len(changed), BATCH):
        batch = changed[start : start + BATCH]
        texts = [embedded_text(chunk.heading, chunk.text) for chunk in batch]
        found = await by.embedder.embed_passages(ctx, texts)
        vectors |= {(c.heading, c.text): v for c, v in zip(batch, found, strict=True)}
        tokens += await tokens_of(by.embedder, texts)
        note(kept + start + len(batch), len(chunks))
    return Embedded(by, vectors, tokens)


async def tokens_of(embedder: TenantEmbedder, texts: Sequence[str]) -> int:
    """Tokens of texts that are still to be entered into the ledger."""
    if embedder.is_metered:
        return 0
    return await asyncio.to_thread(sum, map(embedder.count_tokens, texts))


def embedded_text(heading: str, text: str) -> str:
    """What is embedded of a passage: its heading too, which often holds the word that is asked."""
    return f"{heading}\n{text}" if heading else text


@contextmanager
def later() -> Iterator[None]:
    """Leave what fails for later, unless nothing works."""
    try:
        yield
    except StoreUnavailable:
        raise
    except TenantryError:
        return
