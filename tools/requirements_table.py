"""Writes docs/requirements.md: which tests prove which requirement. `--check` compares only.

Reads the markers `@pytest.mark.req("DB-4")` from the tests' syntax trees; runs nothing.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "requirements.md"
TITLES = ROOT / "docs" / "requirements.toml"


def markers(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Pairs of requirement id and test name in one file; a module's `pytestmark` holds for all."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.req":
                yield from ((str(ast.literal_eval(a)), node.name) for a in decorator.args)
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark":
            for call in ast.walk(statement.value):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.req":
                    yield from ((str(ast.literal_eval(a)), "(all)") for a in call.args)


def proofs() -> dict[str, list[str]]:
    """Test files and counts by requirement id."""
    found: dict[str, dict[str, int]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        name = file.relative_to(ROOT).as_posix()
        for requirement, _ in markers(ast.parse(file.read_text(encoding="utf-8"))):
            found.setdefault(requirement, {}).setdefault(name, 0)
            found[requirement][name] += 1
    return {
        requirement: [f"`{name}` ({count})" for name, count in files.items()]
        for requirement, files in found.items()
    }


def table() -> str:
    """The page, as Markdown.

    Raises:
        SystemExit: a test names a requirement that does not exist.
    """
    titles: dict[str, str] = tomllib.loads(TITLES.read_text(encoding="utf-8"))
    proved = proofs()
    unknown = sorted(proved.keys() - titles.keys())
    if unknown:
        raise SystemExit(f"tests name unknown requirements: {', '.join(unknown)}")
    rows = [
        f"| {name} | {title} | {'<br>'.join(proved.get(name, ['*open*']))} |"
        for name, title in titles.items()
    ]
    done = sum(1 for name in titles if name in proved)
    return "\n".join(
        [
            "# Requirements and their proofs",
            "",
            "Generated from the tests' markers by `tools/requirements_table.py`; the number of",
            f"tests in brackets. {done} of {len(titles)} have a test; *open* ones are not built yet.",
            "A test proves what its name says, which may be a part of the requirement.",
            "",
            "| id | requirement | proved by |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    """Write or compare; 1 when the file differs."""
    text = table()
    if "--check" in arguments:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        return 0 if current == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
