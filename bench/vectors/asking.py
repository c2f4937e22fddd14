"""Asks several ways the same questions in turns, and scores what they find."""

import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.vectors.shop import TOP, VERSION, Vectors
from tenantry.isolation.context import TenantContext
from tenantry.vectors.base import Question
from tenantry.vectors.search import TenantVectors

_SAME = 1e-5
"""Distances nearer than this are a tie: the order of summation tells them apart, no more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The numbers of the passages found, nearest first, and how long it took."""

    numbers: Sequence[int]
    ms: float


Way = Callable[[int, Vectors], Awaitable[Answer]]
"""Asks about the tenant of that number; the vector has shape (384,)."""


@dataclass(slots=True)
class Score:
    """Of one way, question by question."""

    times_ms: list[float] = field(default_factory=list)
    hits: int = 0
    missing: int = 0

    @property
    def ms(self) -> float:
        """Median."""
        return statistics.median(self.times_ms)

    @property
    def recall(self) -> float:
        """Of the ten that are truly nearest."""
        return self.hits / (TOP * len(self.times_ms))

    def add(self, answer: Answer, held: Vectors, asked: Vectors) -> None:
        """Count an answer about a tenant that holds these vectors."""
        distances = 1 - held @ asked / np.linalg.norm(held, axis=1) / np.linalg.norm(asked)
        tenth = np.partition(distances, TOP - 1)[TOP - 1]
        self.times_ms.append(answer.ms)
        self.hits += sum(bool(distances[n] <= tenth + _SAME) for n in set(answer.numbers))
        self.missing += TOP - len(answer.numbers)

    def __str__(self) -> str:
        p99 = sorted(self.times_ms)[int(len(self.times_ms) * 0.99)]
        return (
            f"p50 {self.ms:7.2f} ms  p99 {p99:7.2f} ms  recall {self.recall:.3f}"
            f"  rows missing {self.missing}"
        )


async def ask(
    ways: Mapping[str, Way], tenants: Mapping[int, Vectors], asked: Vectors
) -> dict[str, Score]:
    """Every way gets every question, in an order that changes; the first tenth only warms up."""
    scores = {name: Score() for name in ways}
    numbers, order = list(tenants), random.Random(5)
    warm = max(3, len(asked) // 10)
    for turn, vector in enumerate([*asked[:warm], *asked]):
        number = numbers[turn % len(numbers)]
        for name, way in order.sample(list(ways.items()), len(ways)):
            answer = await way(number, vector)
            if turn >= warm:
                scores[name].add(answer, tenants[number], vector)
    return scores


def through(store: TenantVectors, contexts: Mapping[int, TenantContext]) -> Way:
    """Our own way."""

    async def way(number: int, vector: Vectors) -> Answer:
        began = time.perf_counter()
        found = await store.nearest(contexts[number], Question(VERSION, vector, TOP))
        took = (time.perf_counter() - began) * 1000
        return Answer([near.chunk_no for near in found], took)

    return way
