"""Requests of commands to a running broker."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from broker.settings import Settings

PIPED_WIDTH = 200
"""Columns of a table that is not shown on a terminal."""

_TIMEOUT = 60.0
_NONE: Mapping[str, str] = {}


class BrokerClient:
    """A broker at `url` (None: the one that the settings of this environment would start), for a tenant ("": default).

    What goes wrong is said in one line on standard error, and ends the process with 1.
    """

    def __init__(self, url: str | None, tenant: str) -> None:
        self.url = (url or f"http://127.0.0.1:{Settings.load().port}").rstrip("/")
        self._headers = {"NGSILD-Tenant": tenant} if tenant else {}

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = _NONE
    ) -> tuple[Any, Any]:
        """The headers of the answer, and its body as JSON."""
        given = {**self._headers, **headers}
        if not self.url.startswith(("http://", "https://")):
            fail(f"{self.url!r} is no URL of a broker: expected one as http://localhost:1026.")
        request = urllib.request.Request(self.url + path, body, given, method=method)  # noqa: S310 - it was checked
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - as above
                text = answer.read()
                return answer.headers, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            fail(_reason(error))
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            fail(f"There is no answer from {self.url} ({reason}): give it with --broker.")


def context_link(url: str | None) -> dict[str, str]:
    """The header that names an @context, for `BrokerClient.ask`."""
    if url is None:
        return {}
    return {"Link": f'<{url}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}


def fail(reason: str) -> NoReturn:
    """Say why, and end."""
    click.echo(f"vela: {reason}", err=True)
    sys.exit(1)


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        problem = json.loads(error.read())
        return str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url} answered {error.code} {error.reason}; is it an NGSI-LD broker?"
