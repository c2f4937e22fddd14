"""`tenantry …`: finds the command; its module is imported only when the command is used."""

import logging
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

import click

from tenantry import __version__
from tenantry.core.errors import TenantryError

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "demo": ("tenantry.cli.demo:demo", "Show two tenants on one platform, with real data."),
        "serve": ("tenantry.cli.local:serve", "Run the server."),
        "worker": ("tenantry.cli.local:worker", "Do the tenants' durable work."),
        "migrate": ("tenantry.cli.local:migrate", "Bring the database to this version."),
        "doctor": ("tenantry.cli.local:doctor", "Check this installation; say how to mend it."),
        "erase": ("tenantry.cli.erase:erase", "Take what was deleted out of the database's files."),
        "operator-key": ("tenantry.cli.local:operator_key", "Issue or end operator keys."),
        "tenant": ("tenantry.cli.tenants:tenant", "Create, list, suspend tenants."),
        "token": ("tenantry.cli.tenants:token", "Mint a short-lived member token."),
        "member": ("tenantry.cli.tenants:member", "Add and list members."),
        "key": ("tenantry.cli.tenants:key", "Issue, rotate and revoke API keys."),
        "connector": ("tenantry.cli.connectors:connector", "Connect databases, APIs, MCP servers."),
        "provider-account": (
            "tenantry.cli.provider_accounts:provider_account",
            "Bring own accounts at model providers.",
        ),
        "model-policy": (
            "tenantry.cli.model_policy:model_policy",
            "Allow models, and say what stands in for which.",
        ),
        "embedder": (
            "tenantry.cli.embedder:embedder",
            "Choose what documents are embedded with.",
        ),
        "break-glass": (
            "tenantry.cli.break_glass:break_glass",
            "Read one tenant for a while, on record.",
        ),
        "approval": ("tenantry.cli.approvals:approval", "Approve calls that change something."),
        "vault": ("tenantry.cli.vault:vault", "Look after the keys that seal credentials."),
        "ingest": ("tenantry.cli.content:ingest", "Add documents and data files."),
        "group": ("tenantry.cli.groups:group", "Keep groups of members."),
        "document": ("tenantry.cli.groups:document", "Say who may read which documents."),
        "jobs": ("tenantry.cli.jobs:jobs", "Look after what is done in the background."),
        "search": ("tenantry.cli.content:search", "Find passages in the documents."),
        "ask": ("tenantry.cli.content:ask", "Ask an assistant."),
        "eval": ("tenantry.cli.evaluate:evaluate", "Measure the quality of answers."),
        "budget": ("tenantry.cli.budgets:budget", "Limit what may be used."),
        "usage": ("tenantry.cli.reports:usage", "What was used, and what it cost."),
        "fairness": ("tenantry.cli.fairness:fairness", "Who waits for whom, and open breakers."),
        "audit": ("tenantry.cli.reports:audit", "Read and verify the audit log."),
        "pools": ("tenantry.cli.reports:pools", "Connections to tenants' databases, in figures."),
    }
)


class LazyGroup(click.Group):
    """Lists commands without importing them: `--help` must not load a web framework."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of a newcomer's needs."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their one-line descriptions."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tenantry")
def cli() -> None:
    """Isolated AI analysts for every tenant of a SaaS product.

    Clients read TENANTRY_BASE_URL, TENANTRY_API_KEY and TENANTRY_OPERATOR_KEY.
    """


def main() -> None:
    """Run the command line; an error of ours is one line on standard error, exit status 1."""
    # Every exit closes the lease's connection on purpose; the pool would warn of it each time.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        cli(prog_name="tenantry")
    except TenantryError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)
