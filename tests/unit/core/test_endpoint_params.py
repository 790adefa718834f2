"""The endpoint of a subscription (clauses 5.2.15, 5.2.22, 7.2): what is read, and what is refused and where."""

from typing import Any

import pytest

from broker.core.notification_params import read_endpoint_uri, read_notification
from broker.ngsild.errors import BadRequestData, NotYetImplemented

MQTT = "mqtt://user:s3cret@host/topic"


def read(**endpoint: Any) -> dict[str, Any]:
    read_endpoint: dict[str, Any] = read_notification({"endpoint": endpoint}, None, "/notification")["endpoint"]
    return read_endpoint


def pairs(**values: Any) -> list[dict[str, Any]]:
    return [{"key": key.replace("_", "-"), "value": value} for key, value in values.items()]


@pytest.mark.parametrize("uri", ["http://host/path?query=1", "https://user:word@host", MQTT, "mqtts://host:1/a/b"])
def test_an_endpoint_is_kept_as_it_was_given(uri: str) -> None:
    given = {
        "uri": uri,
        "accept": "application/ld+json",
        "timeout": 500,
        "cooldown": 0.5,
        "receiverInfo": pairs(X_Key="value"),
        "notifierInfo": pairs(Anything="else"),
    }
    assert read(**given) == given


def test_parameters_of_mqtt_are_read() -> None:
    info = pairs(MQTT_QoS="2", MQTT_Version="mqtt3.1.1")
    assert read(uri=MQTT, notifierInfo=info)["notifierInfo"] == info


def test_receiver_info_over_mqtt_may_have_any_key() -> None:
    info = [{"key": "a key, with: anything", "value": "line\nbreak"}]
    assert read(uri=MQTT, receiverInfo=info)["receiverInfo"] == info


@pytest.mark.parametrize(
    ("endpoint", "pointer"),
    [
        ({"uri": "mqtt://host"}, "/uri"),
        ({"uri": "mqtt://:s3cret@host/t"}, "/uri"),
        ({"uri": "mqtt://u:s3cret@host/a/#"}, "/uri"),
        ({"uri": "coap://u:s3cret@host/a"}, "/uri"),
        ({"uri": "http://u:s3cret@host/ a"}, "/uri"),
        ({"uri": MQTT, "accept": "application/geo+json"}, "/accept"),
        ({"uri": MQTT, "notifierInfo": pairs(MQTT_QoS="3")}, "/notifierInfo/0/value"),
        ({"uri": MQTT, "notifierInfo": pairs(X="1", MQTT_Version="4")}, "/notifierInfo/1/value"),
        ({"uri": MQTT, "notifierInfo": pairs(MQTT_Qos="1")}, "/notifierInfo/0/key"),
        ({"uri": MQTT, "notifierInfo": pairs(MQTT_QoS=1)}, "/notifierInfo/0"),
        ({"uri": MQTT, "notifierInfo": pairs(TLS_CA_File="a.pem")}, "/notifierInfo/0"),
        ({"uri": "http://host", "notifierInfo": pairs(TLS_CA_File="a.pem")}, "/notifierInfo/0"),
        ({"uri": "http://host", "receiverInfo": [{"key": "no header", "value": "x"}]}, "/receiverInfo/0/key"),
        ({"uri": "http://host", "timeout": 0}, "/timeout"),
        ({"uri": "http://host", "cooldown": -1}, "/cooldown"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place_and_without_a_password(
    endpoint: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(BadRequestData) as caught:
        read(**endpoint)
    assert caught.value.pointer == "/notification/endpoint" + pointer
    assert "s3cret" not in caught.value.detail


def test_other_notifications_do_not_go_over_mqtt() -> None:
    with pytest.raises(NotYetImplemented):
        read_endpoint_uri(MQTT, "/endpoint")
