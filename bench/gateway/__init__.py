"""What the gateway costs a call, against a bare pass-through on the same machine in one run.

The gateway is pinned to one core, the provider, the client and PostgreSQL to the other. CPU is
that of the gateway's whole process tree divided by the calls answered: nearly immune to what else
the machine does. Each round runs every contender once, in turn; the median of the rounds counts.

The tenant has a budget of tokens and one of calls, so that leases are spent too.

Run: python -m bench.gateway [--rounds 3] [--seconds 4] [--only tenantry] [--plain]
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.gateway.contenders import (
    OTHER_CORE,
    PATH,
    Contender,
    bare,
    cpu_seconds,
    event_loop,
    first_line,
    haproxy,
    pin,
    provider,
    resident_mb,
    started,
    tenantry,
)

_WARM_UP_S = 1.0
_GOAL_SHARE = 0.45
_KINDS = (("plain", 32), ("plain", 1), ("stream", 32), ("stream", 1))


@dataclass(frozen=True)
class Figures:
    """Of one run: calls, microseconds of CPU a call, milliseconds.

    Attributes:
        step: part of the answers that took 35 to 55 ms: where it stands out at one call at a time,
            one side waits for the other's delayed acknowledgement (40 ms).
    """

    calls: int
    failed: int
    cpu_us: float
    per_s: float
    p50_ms: float
    p99_ms: float
    step: float
    rss_mb: float


def main() -> int:
    """Measure and print; 1 when the goal is missed."""
    parser = argparse.ArgumentParser(prog="bench.gateway")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default="", help="parts of names, with commas between them")
    parser.add_argument("--plain", action="store_true", help="no streams")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        return asyncio.run(_measure(folder, options))


async def _measure(folder: Path, options: argparse.Namespace) -> int:
    pin(OTHER_CORE)  # ourselves, and with us the database
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(provider())
        everybody: list[Contender] = [Contender("the provider itself", port)]
        if proxy := await stack.enter_async_context(haproxy(port, folder)):
            everybody.append(proxy)
        everybody.append(await stack.enter_async_context(bare(port)))
        everybody.append(await stack.enter_async_context(tenantry(port, folder)))
        only = [*options.only.lower().split(","), "bare"]
        everybody = [each for each in everybody if any(o in each.name.lower() for o in only)]
        kinds = [kind for kind in _KINDS if not options.plain or kind[0] == "plain"]
        found: dict[tuple[str, str, int], list[Figures]] = {}
        for _ in range(options.rounds):
            for kind, connections in kinds:
                for contender in everybody:
                    await _run(contender, kind, connections, _WARM_UP_S)
                    figures = await _run(contender, kind, connections, options.seconds)
                    found.setdefault((contender.name, kind, connections), []).append(figures)
    code = _print(everybody, found, kinds)
    for line in event_loop(folder) or ["event loop: no block over 50 ms"]:
        print(line)
    return code


async def _run(contender: Contender, kind: str, connections: int, seconds: float) -> Figures:
    question = "Summarise the quarter in three sentences, and name the largest change."
    body = {
        "model": contender.model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 200,
        "temperature": 0.2,
        **({"stream": True} if kind == "stream" else {}),
    }
    asked = {
        "port": contender.port,
        "path": PATH,
        "headers": dict(contender.headers),
        "body": json.dumps(body),
        "connections": connections,
        "seconds": seconds,
    }
    before = cpu_seconds(contender.pid) if contender.pid else 0.0
    load = (sys.executable, "-m", "bench.gateway.load", json.dumps(asked))
    async with started(*load, core=OTHER_CORE) as process:
        told = json.loads(await first_line(process))
    used = cpu_seconds(contender.pid) - before if contender.pid else 0.0
    if told["failed"]:
        print(f"{contender.name}: {told['failed']} failed: {told['sample'][-300:]}", flush=True)
    return Figures(
        told["requests"],
        told["failed"],
        used / max(1, told["requests"]) * 1e6,
        told["requests"] / told["seconds"],
        told["p50_ms"],
        told["p99_ms"],
        told["step"],
        resident_mb(contender.pid) if contender.pid else 0.0,
    )


def _print(
    everybody: Sequence[Contender],
    found: dict[tuple[str, str, int], list[Figures]],
    kinds: Sequence[tuple[str, int]],
) -> int:
    print(f"median of the rounds; {os.cpu_count()} cores")
    missed = False
    for kind, connections in kinds:
        print(f"\n{kind}, {connections} at once")
        print(
            f"{'':28}{'CPU us':>9}{'of bare':>9}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}"
            f"{'~40 ms':>8}{'MB':>7}"
        )
        base = _median(found["bare uvicorn + aiohttp", kind, connections], "cpu_us")
        for contender in everybody:
            runs = found[contender.name, kind, connections]
            cpu = _median(runs, "cpu_us")
            share = base / cpu if cpu else 0.0
            print(
                f"{contender.name:28}{cpu:9.0f}{share:9.2f}{_median(runs, 'per_s'):10.0f}"
                f"{_median(runs, 'p50_ms'):9.2f}{_median(runs, 'p99_ms'):9.2f}"
                f"{_median(runs, 'step'):8.1%}{_median(runs, 'rss_mb'):7.0f}"
            )
            if contender.name.startswith("Tenantry") and (kind, connections) == ("plain", 32):
                missed = share < _GOAL_SHARE
    outcome = "missed" if missed else "held"
    print(f"\ngoal: Tenantry at {_GOAL_SHARE} of bare, plain, 32 at once: {outcome}")
    return int(missed)


def _median(runs: Sequence[Figures], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in runs))
