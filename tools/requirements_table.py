"""Writes docs/requirements.md: which tests prove which requirement. `--check` compares only.

Reads the markers `@pytest.mark.req("DB-4")` from the tests' syntax trees; runs nothing. One line a
proof, so that two changes meet in one line only when they are about the same file.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "requirements.md"
TITLES = ROOT / "docs" / "requirements.toml"
HEAD = """# Requirements and their proofs

Generated from the tests' markers by `tools/requirements_table.py`. A test proves what its name
says, which may be a part of the requirement; *open* means that no test speaks of it yet.
"""


def requirements_of(tree: ast.Module) -> Iterator[str]:
    """Ids that the markers of one file name, on functions, classes or the whole module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.req":
            yield from (str(ast.literal_eval(argument)) for argument in node.args)


def proofs() -> dict[str, list[str]]:
    """Test files by requirement id, each in order."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        name = file.relative_to(ROOT).as_posix()
        for requirement in sorted(set(requirements_of(ast.parse(file.read_text("utf-8"))))):
            found.setdefault(requirement, []).append(name)
    return found


def page(chapters: Mapping[str, Mapping[str, str]], proved: Mapping[str, list[str]]) -> str:
    """The page, as Markdown."""
    lines = [HEAD]
    for chapter, titles in chapters.items():
        lines.append(f"## {chapter}\n")
        for requirement, title in titles.items():
            names = [f"- `{name}`" for name in proved.get(requirement, [])]
            lines += [f"**{requirement}** {title}\n", *(names or ["- *open*"]), ""]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write or compare; 1 when the file differs.

    Raises:
        SystemExit: a test names a requirement that does not exist.
    """
    chapters = tomllib.loads(TITLES.read_text(encoding="utf-8"))
    proved = proofs()
    unknown = proved.keys() - {name for titles in chapters.values() for name in titles}
    if unknown:
        raise SystemExit(f"tests name unknown requirements: {', '.join(sorted(unknown))}")
    text = page(chapters, proved)
    if "--check" in arguments:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        return 0 if current == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
