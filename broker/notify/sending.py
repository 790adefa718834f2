"""Handing one notification to its endpoint, over HTTP (clause 6.3.8) or MQTT (clause 7.2).

It is delivered when an HTTP endpoint answers 2xx, or an MQTT broker acknowledges it as its QoS demands. It is worth
another attempt when there is no answer, or one that promises that a later attempt may succeed (5xx, 408, 425, 429). Any
other answer is the receiver's refusal of this notification: repeating it would hold up those behind it.
"""

import ssl
from collections.abc import Mapping
from typing import Protocol

import orjson

from broker.notify.mqtt_address import MqttDestination
from broker.notify.subscription import Target
from broker.notify.trust import Trust, UntrustworthyError
from broker.outbound import OutboundError, OutboundRefused

_TRY_AGAIN = frozenset({408, 425, 429})


class Posts(Protocol):
    """Sends HTTP requests under the broker's policy."""

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109
        tls: ssl.SSLContext | None = None,
    ) -> int:
        """The status of the answer; OutboundError if there is none."""


class Publishes(Protocol):
    """Publishes MQTT messages under the broker's policy."""

    async def publish(self, destination: MqttDestination, payload: bytes, timeout: float) -> None:  # noqa: ASYNC109
        """Return when the server has the message; OutboundRefused, OutboundError."""


class Sender:
    """Sends notifications to endpoints of any kind."""

    def __init__(self, http: Posts, mqtt: Publishes, trust: Trust) -> None:
        self._http = http
        self._mqtt = mqtt
        self._trust = trust

    async def send(self, target: Target, body: bytes, timeout: float) -> None:  # noqa: ASYNC109
        """Deliver a notification within `timeout` seconds.

        Raises OutboundRefused if it will never be taken, OutboundError if another attempt may succeed; the text is the
        end of a sentence about the endpoint.
        """
        if target.mqtt is not None:
            await self._mqtt.publish(target.mqtt, mqtt_message(target.headers, body), timeout)
            return
        status = await self._post(target, body, timeout)
        if 200 <= status < 300:
            return
        if status >= 500 or status in _TRY_AGAIN:
            raise OutboundError(f"it answered {status}")
        raise OutboundRefused(f"it answered {status}")

    async def _post(self, target: Target, body: bytes, timeout: float) -> int:  # noqa: ASYNC109
        if target.url[:6].lower() != "https:":
            return await self._http.post(target.url, body, target.headers, timeout)
        try:
            tls = self._trust.context(target.ca)
        except UntrustworthyError as error:
            raise OutboundError(str(error)) from error
        return await self._http.post(target.url, body, target.headers, timeout, tls)


def mqtt_message(metadata: Mapping[str, str], body: bytes) -> bytes:
    """The payload of a message (clause 7.2): what HTTP has in its headers, and the notification."""
    return b'{"metadata":' + orjson.dumps(metadata) + b',"body":' + body + b"}"
