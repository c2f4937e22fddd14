"""Stand-ins for a parsing process that a document has taken over."""

import sys
from pathlib import Path

import pytest

ANSWER = (
    "import json, os, sys\n"
    "def answer(text):\n"
    '    section = {"heading": "", "page": 1, "start": 0, "end": len(text)}\n'
    '    document = {"text": text, "sections": [section], "pages": 1}\n'
    '    sys.stdout.write(json.dumps({"document": document}))\n'
)


def take_over(monkeypatch: pytest.MonkeyPatch, directory: Path, program: str) -> None:
    """Let the next parsing processes run `program` instead; `answer(text)` is at its hand."""
    script = directory / "python"
    script.write_text(f"#!{sys.executable}\n{ANSWER}{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
