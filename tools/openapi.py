"""Writes docs/openapi.json from the routes; `--check` fails when the file is not up to date."""

import json
import sys
from pathlib import Path

from tenantry.api.server import build_resources

TARGET = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def main(arguments: list[str]) -> int:
    """Write or compare; 1 when the file differs."""
    text = json.dumps(build_resources(None).openapi(), indent=1, sort_keys=True) + "\n"
    if "--check" in arguments:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        return 0 if current == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
