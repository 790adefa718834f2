"""`vela datamodels violations`: which rules are broken, by whom, since when (docs/datamodels.md)."""

from typing import Any

import click
from rich.table import Table

from broker.commands.datamodels_client import DataModelClient, broker_option, json_option
from broker.commands.tables import as_text, counted, moment, show, table


@click.command("violations")
@click.option("--tenant", metavar="NAME", help='Only of this tenant; "" is the default tenant. [all tenants]')
@click.option("--type", "type_name", metavar="TYPE", help="Only of entities of this type, by name or IRI.")
@click.option("--attribute", metavar="NAME", help="Only of this attribute, as the data model calls it.")
@click.option("--rule", metavar="KEYWORD", help="Only of this rule, such as required or minimum.")
@click.option("--limit", metavar="NUMBER", type=click.IntRange(1), help="So many at most, the most frequent first.")
@click.option("--clear", is_flag=True, help="Forget what was counted so far, instead of showing it.")
@json_option
@broker_option
def violations_command(
    *,
    tenant: str | None,
    type_name: str | None,
    attribute: str | None,
    rule: str | None,
    limit: int | None,
    clear: bool,
    as_json: bool,
    broker: str | None,
) -> None:
    """Show which rules of data models entities break: how often, since when, and who sends them.

    Violations that were accepted (warn) and refused (enforce) are counted by type, attribute, rule and source: the
    dataProvider of the entity, else its source. The entity and the value are those of the latest case. --clear sets
    the counts of the same selection back, once the source was repaired, say.
    """
    client = DataModelClient(broker)
    selection = {"tenant": tenant, "type": type_name, "attribute": attribute, "rule": rule}
    if clear:
        if limit is not None:
            raise click.UsageError("--clear and --limit exclude each other.")
        client.clear_violations(selection)
        return
    found = client.violations({**selection, "limit": None if limit is None else str(limit)})
    if as_json:
        click.echo(as_text(found))
        return
    show(_table(found))
    kinds = counted(len(found), "kind of violation", "kinds of violations")
    click.echo(f"\n{kinds}, {counted(sum(one['count'] for one in found), 'case', 'cases')}.")


def _table(found: list[dict[str, Any]]) -> Table:
    tenants = any(one["tenant"] for one in found)
    columns = ("Type", "Attribute", "Rule", "Source", "Policy", "Count", "First", "Last", "Latest case")
    shown = table(*(("Tenant",) if tenants else ()), *columns, numbers=("Count",))
    for one in found:
        sample = one["sample"]
        what = (one["type"], one["attribute"], one["rule"], one["source"], one["policy"], f"{one['count']:,}")
        case = f"{sample['entity']}: {sample['detail']}"
        shown.add_row(*((one["tenant"],) if tenants else ()), *what, moment(one["first"]), moment(one["last"]), case)
    return shown
