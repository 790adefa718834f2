"""`vela contexts`: the @contexts that a running broker keeps (docs/contexts.md)."""

import json
import sys
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

import click
from rich.console import Console
from rich.table import Table

from broker.commands.client import PIPED_WIDTH, BrokerClient

RESOURCE = "/ngsi-ld/v1/jsonldContexts"


class ContextClient:
    """Requests to /jsonldContexts of the broker at `url`, for `tenant` ("" for the default one)."""

    def __init__(self, url: str | None, tenant: str) -> None:
        self._client = BrokerClient(url, tenant)

    def add(self, document: bytes) -> str:
        """Add an @context; its URL."""
        headers, _ = self._ask("POST", "", document)
        return self._client.url + str(headers["Location"])

    def list(self, kind: str | None) -> list[dict[str, Any]]:
        """What the broker knows about each one."""
        found: list[dict[str, Any]] = self._ask("GET", "?" + urlencode(_given(details="true", kind=kind)))[1]
        return found

    def details(self, identifier: str) -> dict[str, Any]:
        """What the broker knows about one."""
        found: dict[str, Any] = self._ask("GET", f"/{quote(identifier, safe='')}?details=true")[1]
        return found

    def document(self, identifier: str) -> Any:
        """The @context itself."""
        return self._ask("GET", f"/{quote(identifier, safe='')}")[1]

    def remove(self, identifier: str) -> None:
        """Delete one."""
        self._ask("DELETE", f"/{quote(identifier, safe='')}")

    def reload(self, identifier: str) -> None:
        """Have the broker download one again."""
        self._ask("DELETE", f"/{quote(identifier, safe='')}?reload=true")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[Any, Any]:
        headers = {} if body is None else {"Content-Type": "application/ld+json"}
        return self._client.ask(method, RESOURCE + path, body, headers)


HELP = """Manage the JSON-LD @contexts that a running broker keeps.

An @context that you add is Hosted: every request may name it by the URL that is printed. Those that the broker
downloaded are Cached; those that it made itself, of the arrays in subscriptions, are ImplicitlyCreated.

\b
  vela contexts add city.jsonld
  vela contexts list --kind Cached
  vela contexts remove --reload https://example.org/context.jsonld
"""


@click.group("contexts", help=HELP)
@click.option("--broker", metavar="URL", help="The broker to talk to. [http://127.0.0.1:VELA_PORT, 1026]")
@click.option("--tenant", metavar="NAME", default="", help="The tenant whose @contexts are meant. [the default tenant]")
@click.pass_context
def contexts_group(context: click.Context, broker: str | None, tenant: str) -> None:
    """Read what all of its commands need."""
    context.obj = ContextClient(broker, tenant)


@contexts_group.command("add")
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def add_command(client: ContextClient, file: BinaryIO) -> None:
    """Add the @context in FILE (- reads standard input), and print its URL.

    FILE holds a JSON object with an "@context" member; whatever stands beside that member is dropped.
    """
    click.echo(client.add(file.read()))


@contexts_group.command("list")
@click.option("--kind", type=click.Choice(["Cached", "Hosted", "ImplicitlyCreated"]), help="Only those of one kind.")
@click.option("--json", "as_json", is_flag=True, help="Print what the broker answers, as JSON.")
@click.pass_obj
def list_command(client: ContextClient, *, kind: str | None, as_json: bool) -> None:
    """List the @contexts, with how often each was used and when last."""
    found = client.list(kind)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("Kind", "Uses", "Last use", "URL"):
        table.add_column(column, no_wrap=column != "URL", overflow="fold")
    for one in found:
        table.add_row(one["kind"], str(one.get("numberOfHits", "")), one.get("lastUsage", ""), one["URL"])
    Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


@contexts_group.command("show")
@click.argument("identifier", metavar="ID")
@click.pass_obj
def show_command(client: ContextClient, identifier: str) -> None:
    """Show one @context: what the broker knows about it, and its content unless it is a Cached one.

    ID is a local identifier or a URL, as `vela contexts list` shows them.
    """
    details = client.details(identifier)
    if details["kind"] != "Cached":
        details |= client.document(identifier)
    click.echo(json.dumps(details, indent=2, ensure_ascii=False))


@contexts_group.command("remove")
@click.argument("identifier", metavar="ID")
@click.option("--reload", is_flag=True, help="Have a Cached one downloaded again instead; it stays if that fails.")
@click.pass_obj
def remove_command(client: ContextClient, identifier: str, *, reload: bool) -> None:
    """Remove one @context: ID is a local identifier or a URL, as `vela contexts list` shows them.

    A Cached one comes back when a request names it again. Remove a Hosted one only when nobody names it any more.
    """
    if reload:
        client.reload(identifier)
    else:
        client.remove(identifier)


def _given(**parameters: str | None) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value is not None}
