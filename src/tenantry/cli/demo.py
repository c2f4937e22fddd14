"""`tenantry demo`: the product's main job, end to end, on real data."""

import asyncio
import sys
from dataclasses import replace

import click

from tenantry.api.serving import serving
from tenantry.core.settings import Settings
from tenantry.demo.gullible import gullible_model
from tenantry.demo.show import run_demo
from tenantry.platform import Platform, open_platform

_KEY = "demo"


@click.command()
@click.option("--no-serve", is_flag=True, help="End after the show instead of leaving it running.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
def demo(no_serve: bool, port: int) -> None:
    """Load two real tenants, ask both the same questions, and try to break in.

    Exit status 0 only if every answer was right and no attack got through.
    """
    sys.exit(asyncio.run(_run(serve=not no_serve, port=port)))


async def _run(*, serve: bool, port: int) -> int:
    settings = Settings.from_environment()
    # A demo never mixes with a deployment's own data.
    settings = replace(settings, data_dir=settings.data_dir / "demo", port=port)
    if not serve:
        settings = replace(settings, port=0)
    click.echo("Starting Tenantry with its embedded PostgreSQL …")
    async with gullible_model() as model:
        # The strongest attack needs a model that obeys every order it reads: this one does.
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        path = model.write_providers(settings.data_dir / "gullible.json")
        return await _show(replace(settings, providers_file=path), serve=serve)


async def _show(settings: Settings, *, serve: bool) -> int:
    async with (
        open_platform(settings) as platform,
        serving(platform, settings.host, settings.port) as server,
    ):
        await _end_older_keys(platform)
        key = await platform.operators.create_key(_KEY)
        status = await run_demo(server.url, key.reveal(), serve=serve, out=click.echo)
        if serve and status == 0:
            click.echo(f"\nTenantry serves {server.url} until you press Ctrl+C.")
            await server.wait()
    return status


async def _end_older_keys(platform: Platform) -> None:
    for row in await platform.operators.list_keys():
        if row["name"] == _KEY and row["revoked_at"] is None:
            await platform.operators.revoke_key(row["key_id"])
