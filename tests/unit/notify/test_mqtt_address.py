import pytest

from broker.notify.mqtt_address import MqttDestination, MqttServer, is_mqtt, parse_mqtt, parse_mqtt_uri


@pytest.mark.parametrize(
    ("uri", "server", "topic"),
    [
        ("mqtt://host/topic", MqttServer("host", 1883), "topic"),
        ("mqtts://host/a/b/c", MqttServer("host", 8883, tls=True), "a/b/c"),
        ("MQTT://Host:1884/T", MqttServer("host", 1884), "T"),
        ("mqtt://[::1]:99/t", MqttServer("::1", 99), "t"),
        ("mqtt://user@host/t", MqttServer("host", 1883, username="user"), "t"),
        ("mqtt://user:@host/t", MqttServer("host", 1883, username="user", password=""), "t"),
        ("mqtt://u%40x:p%3A%2F%40@host/t", MqttServer("host", 1883, username="u@x", password="p:/@"), "t"),
        ("mqtt://host/plaza%20mayor/%C3%B1%3F", MqttServer("host", 1883), "plaza mayor/ñ?"),
        ("mqtt://host//leading/and/trailing/", MqttServer("host", 1883), "/leading/and/trailing/"),
    ],
)
def test_a_uri_names_server_user_and_topic(uri: str, server: MqttServer, topic: str) -> None:
    assert is_mqtt(uri)
    assert parse_mqtt_uri(uri) == MqttDestination(server, topic, 0)


@pytest.mark.parametrize(
    "uri",
    [
        "mqtt://host",
        "mqtt://host/",
        "mqtt:///topic",
        "mqtt://host:0/t",
        "mqtt://host:99999/t",
        "mqtt://host:port/t",
        "mqtt://:s3cret@host/t",
        "mqtt://host/a/+/b",
        "mqtt://host/a/%23",
        "mqtt://host/a%00",
        "mqtt://host/t?qos=1",
        "mqtt://host/t#f",
        "mqtt://host/100%",
        "mqtt://host/%FF",
        "mqtt://user:s3cret%ZZ@host/t",
        "mqtt://host/" + "t" * 65_536,
    ],
)
def test_what_is_no_destination_is_refused_without_showing_a_password(uri: str) -> None:
    with pytest.raises(ValueError, match=r"MQTT.*\.$") as caught:
        parse_mqtt_uri(uri)
    assert "s3cret" not in str(caught.value)


def test_version_and_quality_of_service_come_from_the_notifier_info() -> None:
    default = parse_mqtt("mqtt://host/t", {})
    assert (default.server.version, default.qos) == ("mqtt5.0", 0)
    chosen = parse_mqtt("mqtt://host/t", {"MQTT-Version": "mqtt3.1.1", "MQTT-QoS": "2"}, "city.pem")
    assert (chosen.server.version, chosen.qos, chosen.server.ca) == ("mqtt3.1.1", 2, "city.pem")
    assert chosen.server != default.server


@pytest.mark.parametrize("info", [{"MQTT-QoS": "3"}, {"MQTT-QoS": ""}, {"MQTT-Version": "5"}])
def test_unknown_values_are_refused(info: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_mqtt("mqtt://host/t", info)


def test_a_server_shows_no_credentials() -> None:
    server = MqttServer("::1", 8883, tls=True, username="user", password="s3cret")
    assert str(server) == "mqtts://[::1]:8883"
    assert "s3cret" not in repr(server)
