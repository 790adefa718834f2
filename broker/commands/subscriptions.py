"""`vela subscriptions`: who is subscribed at a running broker, and how delivery goes (docs/notifications.md)."""

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from broker.commands.client import PIPED_WIDTH, BrokerClient

RESOURCE = "/subscribers"
_COUNT = "NGSILD-Results-Count"


@click.command("subscriptions")
@click.option("--broker", metavar="URL", help="The broker to talk to. [http://127.0.0.1:VELA_PORT, 1026]")
@click.option("--tenant", metavar="NAME", default="", help="The tenant whose are meant. [the default tenant]")
@click.option("--trouble", is_flag=True, help="Only those that fail, gave something up, or are owed something.")
@click.option("--json", "as_json", is_flag=True, help="Print what the broker answers, as JSON.")
def subscriptions_command(broker: str | None, tenant: str, *, trouble: bool, as_json: bool) -> None:
    """Show who is subscribed at a running broker, and how delivery to them goes.

    For each subscription: its endpoint, its status, whether its latest notification was delivered, when one was last
    delivered and last failed, the last error, the failures since the last success, how many notifications were given
    up, and how many wait in the outbox, with the age of the oldest.
    """
    found = _all(BrokerClient(broker, tenant))
    if trouble:
        found = [one for one in found if one["health"] == "failing" or one["givenUp"] or one["backlog"]]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(
        _table(found)
    )


def _all(client: BrokerClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        headers, page = client.ask("GET", f"{RESOURCE}?offset={len(found)}&count=true")
        found += page
        if not page or len(found) >= int(headers[_COUNT]):
            return found


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("ID", "Endpoint", "Status", "Health", "Last success", "Last failure", "Last error"):
        table.add_column(column, overflow="fold")
    for column in ("In row", "Given up", "Backlog", "Oldest"):
        table.add_column(column, justify="right")
    for one in found:
        age = f"{one['oldestSeconds']:,.0f} s" if "oldestSeconds" in one else ""
        texts = (one["id"], one["endpoint"], one["status"], one["health"])
        last = (_moment(one.get("lastSuccess")), _moment(one.get("lastFailure")), one.get("lastError", ""))
        table.add_row(*texts, *last, *(f"{one[name]:,}" for name in ("failuresInRow", "givenUp", "backlog")), age)
    return table


def _moment(timestamp: str | None) -> str:
    """A timestamp to the second."""
    return "" if timestamp is None else timestamp[:19] + "Z"
