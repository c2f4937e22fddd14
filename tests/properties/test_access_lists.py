"""Whatever groups, lists and documents become, a member finds the nearest it may read, no other.

Beside the store runs a model: who is in which group, which groups a document is for, its vectors
in NumPy. Steps are drawn for a tenant with three members: join, leave, add and restrict documents,
promote and demote. After each, one member searches and lists; some search while lists change.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry.isolation.context import TenantContext
from tenantry.security.groups import Groups, audience_of
from tenantry.vectors.shelves import Shelves, Thresholds
from tests.integration.vectors.stock import Held, Stock
from tests.worlds import World

NAMES = ("board", "legal", "sales")
Action = Literal["join", "leave", "add", "restrict", "tend", "change-while-searching"]
ACTIONS: list[Action] = [
    "join",
    "leave",
    "add",
    "restrict",
    "tend",
    "tend",
    "change-while-searching",
]


@dataclass(frozen=True)
class Step:
    action: Action
    member: int
    groups: frozenset[str]
    number: int


STEP = st.builds(
    Step,
    st.sampled_from(ACTIONS),
    st.integers(0, 2),
    st.frozensets(st.sampled_from(NAMES), max_size=2),
    st.integers(0, 50),
)


@dataclass
class Office:
    """The tenant in the database, and as it should be."""

    world: World
    stock: Stock
    groups: Groups
    ids: dict[str, UUID]
    members: list[TenantContext]
    inside: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in NAMES})
    readers: dict[UUID, frozenset[str]] = field(default_factory=dict)

    def may_read(self, member: int) -> set[UUID]:
        """Which documents a member finds."""
        mine = {name for name, inside in self.inside.items() if member in inside}
        return {d for d, groups in self.readers.items() if not groups or groups & mine}

    async def audience(self, groups: frozenset[str]) -> int:
        async with self.world.db.tenant(self.world.acme, keeping=True) as tx:
            return await audience_of(tx, sorted(groups))

    async def add(self, groups: frozenset[str], size: int) -> None:
        audience = await self.audience(groups)
        document = await self.stock.add(self.stock.acme, size, audience=audience)
        self.readers[document] = groups

    async def restrict(self, document: UUID, groups: frozenset[str]) -> None:
        async with self.world.db.tenant(self.world.acme, keeping=True) as tx:
            audience = await audience_of(tx, sorted(groups))
            await tx.execute(
                b"UPDATE tenantry.documents SET audience = %(a)s WHERE document_id = %(d)s",
                a=audience,
                d=document,
            )
        self.readers[document] = groups

    async def take(self, step: Step) -> None:
        documents, keeper = list(self.readers), self.world.acme
        for name in step.groups if step.action in {"join", "leave"} else ():
            change = self.groups.add if step.action == "join" else self.groups.remove
            await change(keeper, self.ids[name], self.members[step.member].actor.id)
            (set.add if step.action == "join" else set.discard)(self.inside[name], step.member)
        if step.action == "add":
            await self.add(step.groups, 1 + step.number % 9)
        elif step.action == "tend":
            await self.stock.tend(Held(self.stock.worker))
        elif step.action == "restrict":
            await self.restrict(documents[step.number % len(documents)], step.groups)
        elif step.action == "change-while-searching":
            before = self.may_read(step.member)
            who = Held(self.members[step.member])
            found, _ = await asyncio.gather(
                self.stock.search(who, 20, self.stock.unit(1)[0]),
                self.restrict(documents[step.number % len(documents)], step.groups),
            )
            assert {n.document_id for n in found} <= before | self.may_read(step.member)
        await self.check(step)

    async def check(self, step: Step) -> None:
        """One member's search, and its list, are exactly what it may read."""
        readable = self.may_read(step.member)
        vectors = self.stock.acme.vectors
        who = Held(self.members[step.member], {d: vectors[d] for d in readable})
        asked, most = self.stock.unit(1)[0], 1 + step.number
        found = await self.stock.search(who, most, asked)
        assert {near.document_id for near in found} <= readable
        distances, expected = [n.distance for n in found], self.stock.expected(who, most, asked)
        assert len(distances) == len(expected)  # recall 1: fewer only when there are fewer
        assert np.allclose(distances, expected, atol=2e-3)
        async with self.world.db.tenant(who.ctx) as tx:
            for table in (b"documents", b"chunks", b"chunk_embeddings", b"chunk_vectors"):
                query = b"SELECT DISTINCT document_id FROM tenantry." + table
                shown = {row["document_id"] for row in await tx.rows(query)}
                assert shown == readable or (table == b"chunk_vectors" and shown <= readable)


async def _office(world: World, seed: int) -> Office:
    with world.admin() as admin:
        admin.execute("DELETE FROM tenantry.documents; DELETE FROM tenantry.audiences;")
        admin.execute("DELETE FROM tenantry.groups; DELETE FROM tenantry.jobs")
    stock, groups = Stock(world, seed), Groups(world.db, world.audit)
    stock.shelves = Shelves(world.db, world.audit, Thresholds(promote_at=12, demote_below=4))
    while await stock.tend(Held(stock.worker)) is not None:
        pass
    ids = {name: (await groups.create(world.acme, name))["group_id"] for name in NAMES}
    members = [world.context(world.acme, "analyst") for _ in range(3)]
    office = Office(world, stock, groups, ids, members)
    await office.add(frozenset(), 4)
    await office.add(frozenset({"legal"}), 9)
    return office


@pytest.mark.req("VEC-2")
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=8, max_size=20), st.integers(0, 2**32 - 1))
async def test_a_member_finds_the_nearest_that_it_may_read_and_nothing_else(
    world: World, steps: list[Step], seed: int
) -> None:
    office = await _office(world, seed)
    for step in steps:
        await office.take(step)
