"""`python -m bench [NAME …]`: run every measurement, or the named ones."""

import sys
from importlib import import_module

NAMES = ("platform_cost",)


def main(chosen: list[str]) -> int:
    """Run them in order."""
    for name in chosen or NAMES:
        if name not in NAMES:
            print(f"no such measurement: {name}; known: {', '.join(NAMES)}", file=sys.stderr)
            return 2
        print(f"== {name}", flush=True)
        import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
