"""`vela datamodels`: the data models that entities are checked against (docs/datamodels.md).

This module has the group, and the commands about the models and policies of a running broker; the others have modules
of their own, `datamodels_*.py`.
"""

from typing import Any

import click

from broker.commands.datamodels_attributes import attribute_table, described
from broker.commands.datamodels_check import check_command
from broker.commands.datamodels_client import DataModelClient, broker_option, json_option
from broker.commands.datamodels_import import import_command, lint_command
from broker.commands.datamodels_infer import infer_command
from broker.commands.datamodels_violations import violations_command
from broker.commands.tables import as_text, counted, moment, show, table

HELP = """Manage the data models that entities are checked against, and see what breaks them.

\b
  vela datamodels import https://github.com/smart-data-models/dataModel.Weather
  vela datamodels list --problems
  vela datamodels policy WeatherObserved enforce
  vela datamodels violations
  vela datamodels check dump.json.gz
  vela datamodels infer ChargingPoint --out ./models
"""
_POLICIES = ("enforce", "warn", "off", "default")
_ALL_TENANTS = "all"
_DEFAULT_TENANT = "the default one"


@click.group("datamodels", help=HELP)
def datamodels_group() -> None:
    """Everything about data models."""


@datamodels_group.command("list")
@click.option("--subject", metavar="SUBJECT", help="Only those of one subject, such as dataModel.Weather.")
@click.option("--problems", is_flag=True, help="Only those that cannot be used.")
@json_option
@broker_option
def list_command(*, subject: str | None, problems: bool, as_json: bool, broker: str | None) -> None:
    """List the data models of a running broker, with their policies."""
    found = DataModelClient(broker).models(subject=subject, problem="true" if problems else None)
    if as_json:
        click.echo(as_text(found))
        return
    models = table("Type", "Subject", "Origin", "Version", "Policy", "Problem")
    for one in found:
        texts = (one["name"], one.get("subject", ""), one["origin"], one.get("version", ""))
        models.add_row(*texts, one["policy"], one.get("problem", ""))
    show(models)
    click.echo(f"\n{counted(len(found), 'data model', 'data models')}.")


@datamodels_group.command("show")
@click.argument("type_name", metavar="TYPE")
@json_option
@broker_option
def show_command(type_name: str, *, as_json: bool, broker: str | None) -> None:
    """Show one data model: its attributes and what is expected of them, its policy, and where it comes from.

    TYPE is the name of the type or its IRI, as `vela datamodels list` shows them.
    """
    found = DataModelClient(broker).model(type_name)
    if as_json:
        click.echo(as_text(found))
        return
    definition = found["definition"]
    facts = table("", "")
    facts.show_header = False
    for label, value in (
        ("Type", found["name"]),
        ("IRI", found["iri"]),
        ("Subject", found.get("subject", "")),
        ("Description", str(definition["schema"].get("description", ""))),
        ("Origin", found["origin"]),
        ("Source", found.get("source", "")),
        ("Version", found.get("version", "")),
        ("Licence", found.get("licence", "")),
        ("Imported", moment(found.get("importedAt"))),
        ("Policy", found["policy"]),
        ("Problem", found.get("problem", "")),
    ):
        if value:
            facts.add_row(label, value)
    show(facts)
    attributes = described(definition)
    if attributes:
        click.echo()
        show(attribute_table(attributes))


@datamodels_group.command("policy")
@click.argument("type_name", metavar="[TYPE", required=False)
@click.argument("policy", metavar="[enforce|warn|off|default]]", required=False, type=click.Choice(_POLICIES))
@click.option("--tenant", metavar="NAME", help='Only in this tenant; "" is the default tenant. [all tenants]')
@json_option
@broker_option
def policy_command(
    type_name: str | None, policy: str | None, *, tenant: str | None, as_json: bool, broker: str | None
) -> None:
    """Say what happens to entities of TYPE that break their data model, or show what was said.

    enforce refuses such a change, warn accepts and counts it, off does not look. default takes back what was said.
    A policy for one tenant comes before one for all. It takes effect in all processes of the broker within a second.
    """
    client = DataModelClient(broker)
    if type_name is not None and policy is not None:
        client.set_policy(type_name, None if policy == "default" else policy, tenant)
        return
    found = client.policies()
    if type_name is not None:
        iri = client.model(type_name)["iri"]
        found = [one for one in found if one["type"] == iri]
    if tenant is not None:
        found = [one for one in found if one["tenant"] == tenant]
    if as_json:
        click.echo(as_text(found))
        return
    policies = table("Type", "Tenant", "Policy")
    for one in found:
        policies.add_row(one.get("name") or one["type"], _tenant(one), one["policy"])
    show(policies)
    click.echo("\nWhere none is listed, the default holds (VELA_VALIDATION_DEFAULT of the broker).")


@datamodels_group.command("remove")
@click.argument("type_name", metavar="TYPE")
@broker_option
def remove_command(type_name: str, *, broker: str | None) -> None:
    """Remove an imported data model: entities of TYPE are checked no longer, or against the one that comes with Vela.

    One that comes with Vela cannot be removed; `vela datamodels policy TYPE off` has the same effect.
    """
    DataModelClient(broker).remove(type_name)


def _tenant(policy: dict[str, Any]) -> str:
    tenant = policy["tenant"]
    return _ALL_TENANTS if tenant is None else tenant or _DEFAULT_TENANT


for _command in (import_command, lint_command, check_command, violations_command, infer_command):
    datamodels_group.add_command(_command)
