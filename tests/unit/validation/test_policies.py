import re

import pytest

from broker.validation.policies import Policies, Policy

TYPES = {"OffStreetParking": "https://example.org/OffStreetParking", "Road": "https://example.org/Road"}
PARKING, ROAD = TYPES.values()


def test_a_type_without_a_policy_of_its_own_has_the_default() -> None:
    assert Policies.parse("warn", "", TYPES).of("", PARKING) is Policy.WARN


def test_the_policy_of_a_type_holds_in_every_tenant() -> None:
    policies = Policies.parse("warn", "OffStreetParking=enforce", TYPES)
    assert policies.of("", PARKING) is Policy.ENFORCE
    assert policies.of("madrid", PARKING) is Policy.ENFORCE
    assert policies.of("", ROAD) is Policy.WARN


def test_the_policy_of_a_tenant_goes_before_that_of_all_tenants() -> None:
    policies = Policies.parse("warn", " madrid@OffStreetParking=off, OffStreetParking=enforce ,@Road=off", TYPES)
    assert policies.of("madrid", PARKING) is Policy.OFF
    assert policies.of("porto", PARKING) is Policy.ENFORCE
    assert policies.of("", ROAD) is Policy.OFF
    assert policies.of("porto", ROAD) is Policy.WARN


def test_a_type_may_be_given_by_its_iri() -> None:
    assert Policies.parse("off", f"{ROAD}=enforce", TYPES).of("", ROAD) is Policy.ENFORCE


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("OffStreetParking", "'OffStreetParking' is not of the form TYPE=POLICY, such as OffStreetParking=enforce."),
        ("OffStreetParking=strict", "The policy 'strict' does not exist: expected enforce, off, warn."),
        ("Parking=warn", "There is no data model for the type 'Parking': expected one of OffStreetParking, Road."),
    ],
)
def test_a_setting_that_means_nothing_is_refused_with_what_is_expected(overrides: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Policies.parse("warn", overrides, TYPES)
