"""`vela contexts` against a running broker."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.commands.contexts import contexts_group
from broker.local import LocalBroker

SPEED = {"@context": {"speed": "urn:vocab:speed"}}


def vela(broker: LocalBroker, *arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(contexts_group, ["--broker", broker.url, *arguments], input=text)


@pytest.fixture
def url(broker_process: LocalBroker, tmp_path: Path) -> str:
    """The URL of an @context that was added from a file."""
    (tmp_path / "speed.jsonld").write_text(json.dumps(SPEED))
    result = vela(broker_process, "add", str(tmp_path / "speed.jsonld"))
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_an_added_context_is_listed_shown_and_removed(broker_process: LocalBroker, url: str) -> None:
    listed = json.loads(vela(broker_process, "list", "--kind", "Hosted", "--json").output)
    assert url in [one["URL"] for one in listed]
    table = vela(broker_process, "list").output
    assert url in table
    assert "Cached" in table
    shown = json.loads(vela(broker_process, "show", url).output)
    assert (shown["URL"], shown["@context"]) == (url, SPEED["@context"])

    assert vela(broker_process, "remove", shown["localId"]).exit_code == 0

    gone = vela(broker_process, "show", url)
    assert gone.exit_code == 1
    assert "does not exist" in gone.stderr


def test_standard_input_and_a_tenant_may_be_given(broker_process: LocalBroker, tenant: str) -> None:
    added = vela(broker_process, "--tenant", tenant, "add", "-", text=json.dumps(SPEED))
    assert added.exit_code == 0, added.output

    assert added.output.strip() in vela(broker_process, "--tenant", tenant, "list").output
    assert added.output.strip() not in vela(broker_process, "list").output


def test_what_the_broker_refuses_is_said(broker_process: LocalBroker, url: str) -> None:
    refused = vela(broker_process, "add", "-", text='{"@context": 5}')
    assert (refused.exit_code, "expected a URL" in refused.stderr) == (1, True), refused.stderr
    reloaded = vela(broker_process, "remove", "--reload", url)
    assert (reloaded.exit_code, "only a Cached one" in reloaded.stderr) == (1, True), reloaded.stderr


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "localhost:1026", "file:///etc"])
def test_a_broker_that_does_not_answer_is_named(address: str) -> None:
    result = CliRunner().invoke(contexts_group, ["--broker", address, "list"])
    assert result.exit_code == 1
    assert address in result.stderr
