"""Keeps a folder and a tenant's documents in step: what is new, changed or gone there.

A document of a folder has its path as its source, so that a changed file takes the place of the
version before, and a document whose file is gone can be told from one that was added by hand.
"""

import time
from pathlib import Path
from typing import Any

import click

from tenantry.cli.client import Client

_IGNORED = frozenset({".DS_Store", "Thumbs.db"})
_ROUND_S = 2.0
_LOOK_S = 0.5
_PAGE = 500


def files_in(path: Path) -> list[Path]:
    """The file, or every file in the folder but those that file managers leave."""
    if path.is_file():
        return [path]
    return [f for f in path.rglob("*") if f.is_file() and f.name not in _IGNORED]


def when_done(client: Client, added: dict[str, Any]) -> dict[str, Any]:
    """The document that an upload made, once the workers have read it.

    Raises:
        click.ClickException: it cannot be read, or was cancelled.
    """
    job = added
    while job.get("object") == "job" and job["state"] not in {"done", "failed", "cancelled"}:
        time.sleep(_LOOK_S)
        job = client.get(f"/v1/jobs/{job['id']}")
    if job.get("object") != "job":
        return added
    if job["state"] != "done":
        raise click.ClickException(job["error"]["message"] if job["error"] else "It was cancelled.")
    return client.get(f"/v1/documents/{job['document_id']}")


class FolderSync:
    """One folder and the documents whose sources begin with its name."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder.resolve()
        self._seen: dict[str, tuple[int, int]] = {}

    def run(self) -> None:
        """Go round until interrupted; a server that is away is tried again in the next round."""
        click.echo(f"Keeping {self._folder} in step; Ctrl+C ends it.", err=True)
        while True:
            try:
                self.round()
            except click.ClickException as error:
                click.echo(f"Error: {error.message}", err=True)
            time.sleep(_ROUND_S)

    def round(self) -> None:
        """Add what is new or changed, then remove what is gone.

        Raises:
            click.ClickException: the list of documents cannot be read.
        """
        there = {self._source(file): file for file in files_in(self._folder)}
        for source, file in sorted(there.items()):
            self._bring(source, file)
        gone = [row for row in self._documents() if row["source"] not in there]
        for row in gone:
            self._client.delete(f"/v1/documents/{row['id']}")
            click.echo(f"removed {row['source']}")
        if gone:
            # The same bytes may stand under another name, whose upload found this document.
            self._seen.clear()

    def _source(self, file: Path) -> str:
        return f"{self._folder.name}/{file.relative_to(self._folder).as_posix()}"

    def _bring(self, source: str, file: Path) -> None:
        try:
            stat = file.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            if self._seen.get(source) == version:
                return
            self._seen[source] = version
            added = self._client.upload("/v1/documents", file, {"source": source})
            document = when_done(self._client, added)
            click.echo(f"added {source}  {document['chunk_count']} passages")
        except FileNotFoundError:
            return  # gone since it was listed: the next round removes it
        except click.ClickException as error:
            click.echo(f"Error: {source}: {error.message}", err=True)
            if error.__cause__ is not None:  # the server was not there: the next round tries again
                self._seen.pop(source, None)

    def _documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self._client.get("/v1/documents", limit=_PAGE, **cursor)
            mine = f"{self._folder.name}/"
            found += [row for row in page["data"] if (row["source"] or "").startswith(mine)]
            if not page.get("next_cursor"):
                return found
            cursor = {"cursor": page["next_cursor"]}
