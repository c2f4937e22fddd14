"""`python -m bench [NAME …]`: run every measurement, or the named ones."""

import sys
from importlib import import_module

NAMES = (
    "rls_tax", "platform_cost", "pools", "sql_guard", "scheduler", "fairness", "gateway",
    "retrieval", "vectors", "ingestion",
)  # fmt: skip


def main(chosen: list[str]) -> int:
    """Run them in order; 1 when one misses its goal and says so."""
    missed = False
    for name in chosen or NAMES:
        if name not in NAMES:
            print(f"no such measurement: {name}; known: {', '.join(NAMES)}", file=sys.stderr)
            return 2
        print(f"== {name}", flush=True)
        sys.argv = [f"bench/{name}.py"]  # a measurement reads options of its own
        missed |= bool(import_module(f"bench.{name}").main())
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
