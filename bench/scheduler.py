"""What a fair turn costs: decisions a second, and memory, with many tenants waiting.

A decision is what every call costs in the scheduler: one ends, the next is chosen and gets its
slot, another one comes. Beside it, in the same run, the rule of the published artifact, which looks
at every waiting tenant to find the one that is next, and a plain heap of as many entries from which
the smallest is taken and another put in: what any fair order costs at least in this interpreter on
this machine, so that figures of a slow hour can be set beside those of a fast one. Processor time
of one thread.

Goals: 200,000 decisions a second with 10,000 tenants waiting, at most 1.1 KB a waiting tenant.

Run: python bench/scheduler.py [--decisions 100000] [--rounds 5] [--json]
"""

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections import deque
from heapq import heappop, heappush
from uuid import UUID

from tenantry.core.ids import TenantId
from tenantry.fairness.scheduler import Scheduler
from tenantry.fairness.turns import Turn

_TENANTS = (100, 1_000, 10_000)
_SLOTS = 64
_GOAL_A_SECOND = 200_000
_GOAL_BYTES = 1_100
_USED, _BOUND = 300.0, 1_000.0


def _waiting(tenants: int, calls: int) -> tuple[Scheduler, "deque[Turn]"]:
    """A pool at which so many tenants wait with so many calls each, all slots taken."""
    scheduler = Scheduler(_SLOTS)
    for number in range(tenants):
        for _ in range(calls):
            scheduler.offer(TenantId(UUID(int=number + 1)), _BOUND + number % 7, 0.0)
    running: deque[Turn] = deque()
    while (turn := scheduler.next(0.0)) is not None:
        running.append(turn)
    return scheduler, running


def decisions_a_second(tenants: int, decisions: int) -> float:
    """How many calls may end, be chosen and come in a second of processor time."""
    scheduler, running = _waiting(tenants, 2)
    begun = time.thread_time()
    for _ in range(decisions):
        turn = running.popleft()
        scheduler.settle(turn, _USED, 1.0)
        scheduler.offer(turn.place.tenant, _BOUND, 1.0)
        while (following := scheduler.next(1.0)) is not None:
            running.append(following)
    return decisions / (time.thread_time() - begun)


def by_looking_at_all(tenants: int, decisions: int) -> float:
    """The same by the artifact's rule: the smallest counter of all that wait, found by looking."""
    counters = dict.fromkeys(range(tenants), 0.0)
    queues = {number: deque([_BOUND, _BOUND]) for number in counters}
    begun = time.thread_time()
    for _ in range(decisions):
        chosen = min(counters, key=counters.__getitem__)
        counters[chosen] += queues[chosen].popleft()
        counters[chosen] += _USED - _BOUND
        queues[chosen].append(_BOUND)
    return decisions / (time.thread_time() - begun)


def by_a_plain_heap(tenants: int, turns: int) -> float:
    """The smallest entry taken and a larger one put in, and nothing else."""
    heap = [(float(number), number, None) for number in range(tenants)]
    begun = time.thread_time()
    for number in range(turns):
        key, _, nothing = heappop(heap)
        heappush(heap, (key + tenants, tenants + number, nothing))
    return turns / (time.thread_time() - begun)


def bytes_a_tenant(tenants: int) -> float:
    """Memory of a tenant with one call that waits: its place, its turn, its entries."""
    ids = [TenantId(UUID(int=number + 1)) for number in range(tenants)]
    tracemalloc.start()
    scheduler = Scheduler(_SLOTS)
    before = tracemalloc.get_traced_memory()[0]
    for number, tenant in enumerate(ids):
        scheduler.offer(tenant, _BOUND + number, float(number))
    taken = (tracemalloc.get_traced_memory()[0] - before) / tenants
    tracemalloc.stop()
    return taken


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description="What a fair turn costs.")
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    report = {}
    for tenants in _TENANTS:
        rounds, plain = [], []
        for _ in range(given.rounds):
            plain.append(by_a_plain_heap(tenants, given.decisions))
            rounds.append(decisions_a_second(tenants, given.decisions))
        looked = [by_looking_at_all(tenants, 2_000_000 // tenants) for _ in range(given.rounds)]
        report[tenants] = {
            "decisions_a_second": statistics.median(rounds),
            "fastest_round": max(rounds),
            "by_looking_at_all": statistics.median(looked),
            "plain_heap": statistics.median(plain),
            "bytes_a_tenant": bytes_a_tenant(tenants),
        }
    if given.json:
        sys.stdout.write(f"{json.dumps(report)}\n")
    else:
        for tenants, figures in report.items():
            sys.stdout.write(
                f"{tenants:6,} tenants waiting: {figures['decisions_a_second']:9,.0f} decisions/s"
                f" (fastest round {figures['fastest_round']:9,.0f}),"
                f" looking at all {figures['by_looking_at_all']:9,.0f},"
                f" a plain heap {figures['plain_heap']:9,.0f};"
                f" {figures['bytes_a_tenant']:.0f} bytes each\n"
            )
    most = report[_TENANTS[-1]]
    missed = []
    if most["decisions_a_second"] < _GOAL_A_SECOND:
        missed.append(f"the goal is {_GOAL_A_SECOND:,} decisions/s at {_TENANTS[-1]:,} tenants")
    if most["bytes_a_tenant"] > _GOAL_BYTES:
        missed.append(f"the goal is {_GOAL_BYTES:,} bytes a waiting tenant")
    for goal in missed:
        sys.stdout.write(f"missed: {goal}\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
