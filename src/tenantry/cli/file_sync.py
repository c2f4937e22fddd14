"""Keeps a folder or bucket and a tenant's documents in step: what is new, changed or gone there.

A document has the file's path as its source, so that a changed file takes the place of the
version before, and a document whose file is gone can be told from one that was added by hand.
"""

import time
from typing import Any

import click

from tenantry.cli.client import Client
from tenantry.cli.file_sources import FileSource, SourceFile

_LOOK_S = 0.5


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


class FileSync:
    """One source of files, and the documents whose sources begin with its name."""

    def __init__(self, client: Client, files: FileSource) -> None:
        self._client = client
        self._files = files
        self._seen: dict[str, tuple[object, ...]] = {}

    def run(self) -> None:
        """Go round until interrupted; what is away is tried again in the next round."""
        click.echo(f"Keeping {self._files.name} in step; Ctrl+C ends it.", err=True)
        while True:
            try:
                self.round()
            except click.ClickException as error:
                click.echo(f"Error: {error.message}", err=True)
            time.sleep(self._files.every_s)

    def round(self) -> None:
        """Add what is new or changed, then remove what is gone.

        Raises:
            click.ClickException: the files or the documents cannot be listed; nothing is removed.
        """
        there = {file.source: file for file in self._files.files()}
        for _, file in sorted(there.items()):
            self._bring(file)
        gone = [row for row in self._documents() if row["source"] not in there]
        for row in gone:
            self._client.delete(f"/v1/documents/{row['id']}")
            click.echo(f"removed {row['source']}")
        if gone:
            # The same bytes may stand under another name, whose upload found this document.
            self._seen.clear()

    def _bring(self, file: SourceFile) -> None:
        try:
            if self._seen.get(file.source) == file.version:
                return
            content = file.read()
            self._seen[file.source] = file.version
            fields = {"source": file.source}
            added = self._client.upload("/v1/documents", file.name, content, fields)
            document = when_done(self._client, added)
            click.echo(f"added {file.source}  {document['chunk_count']} passages")
        except FileNotFoundError:
            return  # gone since it was listed: the next round removes it
        except click.ClickException as error:
            click.echo(f"Error: {file.source}: {error.message}", err=True)
            if error.__cause__ is not None:  # the server was not there: the next round tries again
                self._seen.pop(file.source, None)

    def _documents(self) -> list[dict[str, Any]]:
        mine = f"{self._files.name}/"
        rows = self._client.every("/v1/documents")
        return [row for row in rows if (row["source"] or "").startswith(mine)]
