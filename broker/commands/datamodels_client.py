"""Requests of `vela datamodels` to the resource /datamodels of a running broker."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import click
import orjson

from broker.commands.client import BrokerClient

RESOURCE = "/datamodels"

broker_option = click.option(
    "--broker", metavar="URL", help="The broker to talk to. [http://127.0.0.1:VELA_PORT, 1026]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print what the broker answers, as JSON.")

_BATCH_BYTES = 8_000_000
_JSON = {"Content-Type": "application/json"}


class DataModelClient:
    """The data models, policies and violations of the broker at `url` (None: the one of this environment)."""

    def __init__(self, url: str | None) -> None:
        self._client = BrokerClient(url, "")

    def models(self, **selection: str | None) -> list[dict[str, Any]]:
        """The data models, without their definitions; `selection` may have subject, name and problem."""
        found: list[dict[str, Any]] = self._get("", selection)
        return found

    def model(self, name: str) -> dict[str, Any]:
        """One data model by type IRI or name, with its definition."""
        found: dict[str, Any] = self._client.ask("GET", _of(name))[1]
        return found

    def add(self, definitions: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Give the broker definitions, some at a time; for each time, what became of each."""
        for batch in batches(definitions):
            yield self._client.ask("POST", f"{RESOURCE}/models", batch, _JSON)[1]

    def remove(self, name: str) -> None:
        """Remove an imported data model by type IRI or name."""
        self._client.ask("DELETE", _of(name))

    def policies(self) -> list[dict[str, Any]]:
        """The policies that were set."""
        found: list[dict[str, Any]] = self._get("/policies", {})
        return found

    def set_policy(self, name: str, policy: str | None, tenant: str | None) -> None:
        """Set the policy of a type, in `tenant` or (None) in all; without a policy, go back to the default."""
        path = f"{RESOURCE}/policies"
        if policy is None:
            self._client.ask("DELETE", path + _query({"type": name, "tenant": tenant}))
            return
        body = {"type": name, "policy": policy, **({} if tenant is None else {"tenant": tenant})}
        self._client.ask("PUT", path, orjson.dumps(body), _JSON)

    def violations(self, selection: dict[str, str | None]) -> list[dict[str, Any]]:
        """What was counted; `selection` may have tenant, type, attribute, rule and limit."""
        found: list[dict[str, Any]] = self._get("/violations", selection)
        return found

    def clear_violations(self, selection: dict[str, str | None]) -> None:
        """Forget what was counted, by the same selection."""
        self._client.ask("DELETE", f"{RESOURCE}/violations{_query(selection)}")

    def _get(self, path: str, selection: dict[str, str | None]) -> Any:
        return self._client.ask("GET", RESOURCE + path + _query(selection))[1]


def batches(definitions: Sequence[dict[str, Any]], most: int = _BATCH_BYTES) -> Iterator[bytes]:
    """Request bodies with all definitions, none larger than `most` bytes unless a single definition is."""
    waiting: list[bytes] = []
    size = 0
    for definition in definitions:
        text = orjson.dumps(definition)
        if waiting and size + len(text) > most:
            yield _body(waiting)
            waiting, size = [], 0
        waiting.append(text)
        size += len(text) + 1
    if waiting:
        yield _body(waiting)


def _body(texts: Sequence[bytes]) -> bytes:
    return b'{"definitions":[' + b",".join(texts) + b"]}"


def _of(name: str) -> str:
    return f"{RESOURCE}/models/{quote(name, safe='')}"


def _query(selection: dict[str, str | None]) -> str:
    given = {name: value for name, value in selection.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
