"""The Prefer header (RFC 7240; clauses 6.3.6, 4.3.6.8)."""

import pytest

from broker.web.preferences import Preferences, read_preferences


@pytest.mark.parametrize(
    ("header", "preferences"),
    [
        ("body=json", Preferences(body="json")),
        ("body=ld+json", Preferences(body="ld+json")),
        ('BODY = "json"', Preferences(body="json")),
        ("ngsi-ld=1.5", Preferences(version=(1, 5))),
        ("NGSI-LD=1.0", Preferences(version=(1, 0))),
        ('ngsi-ld="1.0"', Preferences(version=(1, 0))),
        ("ngsi-ld=1.4;q=0.1", Preferences(version=(1, 4))),
        ("respond-async, ngsi-ld=1.3 , body=json", Preferences("json", (1, 3))),
        ("ngsi-ld=1.3, ngsi-ld=1.5", Preferences(version=(1, 3))),
        ("ngsi-ld=2.7", Preferences(version=(1, 9))),
        ("ngsi-ld=1.10", Preferences(version=(1, 9))),
        ("ngsi-ld=0.9", Preferences(version=(1, 0))),
    ],
)
def test_the_preferences_with_a_meaning_are_read(header: str, preferences: Preferences) -> None:
    assert read_preferences(header) == preferences


@pytest.mark.parametrize(
    "header", ["", "respond-async", "body=xml", "ngsi-ld", "ngsi-ld=latest", "ngsi-ld=1", "=", ";"]
)
def test_other_preferences_are_left_aside(header: str) -> None:
    assert read_preferences(header) == Preferences()


def test_only_what_was_followed_is_said_to_be_applied() -> None:
    assert Preferences("json", (1, 5)).applied(geojson=True) == "body=json, ngsi-ld=1.5"
    assert Preferences("json", (1, 5)).applied(geojson=False) == "ngsi-ld=1.5"
    assert Preferences("json").applied(geojson=False) == ""
