"""`vela index` and `vela explain`: making queries of a running broker fast (docs/queries.md)."""

import json
import sys
import time
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console
from rich.table import Table

from broker.commands.client import PIPED_WIDTH, BrokerClient, context_link, fail

RESOURCE = "/indexes"
_LOOK_EVERY = 0.5
_KEYS = ("filter", "sort", "limit")

INDEX_HELP = """Manage the indexes of a running broker.

An index lets the broker find the entities of a type by the value of an attribute, rather than look at all of that type.
`vela explain` tells which query needs one. It takes disk space, and time at each change of that attribute.

\b
  vela index add Vehicle speed
  vela index add Vehicle speed.observedAt
  vela index add Parcel observationSpace --kind geo
  vela index list
"""

broker_option = click.option(
    "--broker", metavar="URL", help="The broker to talk to. [http://127.0.0.1:VELA_PORT, 1026]"
)
tenant_option = click.option(
    "--tenant", metavar="NAME", default="", help="The tenant whose entities are meant. [the default tenant]"
)
context_option = click.option(
    "--context", "context_url", metavar="URL", help="The @context of the names. [the core @context; IRIs need none]"
)


@click.group("index", help=INDEX_HELP)
@broker_option
@tenant_option
@click.pass_context
def index_group(context: click.Context, broker: str | None, tenant: str) -> None:
    """Read what all of its commands need."""
    context.obj = BrokerClient(broker, tenant)


@index_group.command("add")
@click.argument("type_name", metavar="TYPE")
@click.argument("attribute")
@click.option(
    "--kind",
    type=click.Choice(["value", "geo"]),
    help="What it serves: comparisons in q, or geo-queries. [geo for observationSpace and operationSpace, else value]",
)
@context_option
@click.option("--wait/--no-wait", default=True, help="Wait until it is built. [wait]")
@click.pass_obj
def add_command(
    client: BrokerClient, type_name: str, attribute: str, *, kind: str | None, context_url: str | None, wait: bool
) -> None:
    """Declare an index for the entities of TYPE by ATTRIBUTE.

    Both are names as in requests, or IRIs. ATTRIBUTE may be a path as in q: speed, speed.observedAt, address[city],
    modifiedAt, scope. It is built in the background, while the broker goes on to answer.
    """
    asked = {"type": type_name, "attribute": attribute, **({"kind": kind} if kind is not None else {})}
    link = context_link(context_url)
    found = client.ask("POST", RESOURCE, json.dumps(asked).encode(), {"Content-Type": "application/json", **link})[1]
    while wait and found["state"] in ("building", "waiting"):
        time.sleep(_LOOK_EVERY)
        found = client.ask("GET", f"{RESOURCE}/{quote(found['id'], safe='')}", headers=link)[1]
    if found["state"] == "failed":
        fail(f"The index {found['id']} could not be built: {found['failure']}")
    click.echo(f"{found['id']} is {found['state']}.")


@index_group.command("list")
@context_option
@click.option("--json", "as_json", is_flag=True, help="Print what the broker answers, as JSON.")
@click.pass_obj
def list_command(client: BrokerClient, *, context_url: str | None, as_json: bool) -> None:
    """List the declared indexes, with their state and size."""
    found = client.ask("GET", RESOURCE, headers=context_link(context_url))[1]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = _table("ID", "Type", "Attribute", "Kind", "State", "KiB")
    for one in found:
        state = f"failed: {one['failure']}" if "failure" in one else one["state"]
        size = f"{one['bytes'] / 1024:,.0f}"
        table.add_row(one["id"], one["type"], one["attribute"], one["kind"], state, size)
    _print(table)


@index_group.command("remove")
@click.argument("identifier", metavar="ID")
@click.pass_obj
def remove_command(client: BrokerClient, identifier: str) -> None:
    """Remove the index ID, as `vela index list` shows it. Queries go on without it."""
    client.ask("DELETE", f"{RESOURCE}/{quote(identifier, safe='')}")


@click.command("explain")
@click.argument("query")
@broker_option
@tenant_option
@context_option
@click.option("--json", "as_json", is_flag=True, help="Print what the broker answers, as JSON.")
def explain_command(query: str, *, broker: str | None, tenant: str, context_url: str | None, as_json: bool) -> None:
    """Show how a running broker answers QUERY, and what would make it faster.

    QUERY is what follows the "?" in a GET of /ngsi-ld/v1/entities, such as 'type=Vehicle&q=speed>50', or all of
    that URL. The query is run once.
    """
    client = BrokerClient(broker, tenant)
    parameters = quote(query.rpartition("?")[2], safe="%&=+")
    found = client.ask("GET", f"/explain?{parameters}", headers=context_link(context_url))[1]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    _print(_explained(found))
    click.echo("\nFilter:\n" + json.dumps({name: found[name] for name in _KEYS}, indent=2, ensure_ascii=False))
    for sentence in found["advice"]:
        click.echo(f"\n{sentence}")


def _explained(found: dict[str, Any]) -> Table:
    used = [f"{one['type']} {one['attribute']} ({one['kind']})" for one in found["declaredIndexes"]]
    table = _table("", "")
    for name, value in (
        ("Plan", " < ".join(found["stages"])),
        ("Indexes", ", ".join(found["indexes"]) or "none"),
        ("Declared ones", ", ".join(used) or "none"),
        ("Looked at", f"{found['keysExamined']:,} keys of indexes, {found['documentsExamined']:,} entities"),
        ("Found", f"{found['returned']:,}" + ("" if found["decidedByMongoDB"] else " that the broker decides on")),
        ("Time in MongoDB", f"{found['milliseconds']:,.0f} ms"),
        ("Verdict", "it looks at much more than it finds" if found["scans"] else "fine"),
    ):
        table.add_row(name, value)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: Table) -> None:
    Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
