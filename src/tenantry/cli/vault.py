"""`tenantry vault`: the keys that seal credentials; runs on the platform's own machine."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from tenantry.cli.local import with_platform
from tenantry.cli.output import json_option, show, show_rows
from tenantry.core.settings import Settings
from tenantry.platform import Platform
from tenantry.security.vault.keepers import default_key_file
from tenantry.security.vault.key_file import add_key, remove_key, use_key


@click.group()
def vault() -> None:
    """Look after the keys that seal tenants' credentials."""


@vault.command("status")
@json_option
def status(as_json: bool) -> None:
    """Show which key-encryption keys wrap how many data keys, and how many secrets lie under them.

    More than one line means that a rotation is due or under way.
    """
    show_rows(with_platform(_standing), as_json)


@vault.command("add-key")
@json_option
def add(as_json: bool) -> None:
    """Add a fresh key to the key file: it opens, and does not wrap before `use-key`.

    Where several servers have copies of the file, give each the new one first.
    """
    show({"key": add_key(_key_file())}, as_json)


@vault.command("use-key")
@click.argument("key")
def use(key: str) -> None:
    """Wrap by this key of the key file from now on; rotate next."""
    use_key(_key_file(), key)
    click.echo("In use. Run `tenantry vault rotate` next.")


@vault.command("remove-key")
@click.argument("key")
def remove(key: str) -> None:
    """Remove a key from the key file for good; refused while it wraps anything."""
    left = [row for row in with_platform(_standing) if row["by"] == f"file:{key}"]
    if left:
        raise click.ClickException(
            f"It still wraps {left[0]['data_keys']} data keys. Run `tenantry vault rotate` first."
        )
    remove_key(_key_file(), key)
    click.echo("Removed. What it wrapped in older backups opens never again.")


@vault.command("rotate")
@click.option("--data-keys", is_flag=True, help="Also make new data keys and seal all anew.")
@json_option
def rotate(data_keys: bool, as_json: bool) -> None:
    """Wrap every tenant's data keys by the current key, while the server goes on.

    Exit status 1 if something does not open; it is left as it is, and recorded.
    """
    done = with_platform(lambda platform: _rotate(platform, data_keys=data_keys))
    show(done, as_json)
    if done["unreadable"]:
        sys.exit(1)


async def _standing(platform: Platform) -> list[dict[str, Any]]:
    keys: Counter[str] = Counter()
    secrets: Counter[str] = Counter()
    oldest: dict[str, Any] = {}
    async for ctx in platform.upkeep.each_tenant("vault-status"):
        for each in await platform.upkeep.sources.rotation.standing(ctx):
            keys[each.by] += each.data_keys
            secrets[each.by] += each.secrets
            oldest[each.by] = min(oldest.get(each.by, each.oldest), each.oldest)
    return [
        {"by": by, "data_keys": keys[by], "secrets": secrets[by], "oldest": oldest[by]}
        for by in sorted(keys)
    ]


async def _rotate(platform: Platform, *, data_keys: bool) -> dict[str, int]:
    done: Counter[str] = Counter(tenants=0, data_keys=0, secrets=0, unreadable=0)
    rotation = platform.upkeep.sources.rotation
    async for ctx in platform.upkeep.each_tenant("vault-rotation"):
        wrapped = await rotation.rewrap(ctx)
        sealed = await (rotation.reseal(ctx) if data_keys else rotation.renew(ctx))
        done.update(
            tenants=1,
            data_keys=wrapped.changed,
            secrets=sealed.changed,
            unreadable=wrapped.unreadable + sealed.unreadable,
        )
    return dict(done)


def _key_file() -> Path:
    settings = Settings.from_environment()
    kind, _, path = (settings.vault_keys.split() or [""])[0].partition(":")
    if not kind:
        return default_key_file(settings.data_dir)
    if kind != "file":
        raise click.UsageError(f"The keys are kept by {kind}: rotate them there.")
    return Path(path).expanduser()
