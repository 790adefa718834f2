from broker.ngsild.content import snapshot_content
from broker.validation.policies import Policies, Policy

PARKING, ROAD = "https://example.org/OffStreetParking", "https://example.org/Road"


def test_a_type_without_a_policy_of_its_own_has_the_default() -> None:
    assert Policies(Policy.WARN).of("", PARKING) is Policy.WARN
    assert Policies(Policy.OFF, {("", ROAD): Policy.WARN}).of("", PARKING) is Policy.OFF


def test_the_policy_of_a_type_holds_in_every_tenant() -> None:
    policies = Policies(Policy.WARN, {(None, PARKING): Policy.ENFORCE})
    assert policies.of("", PARKING) is Policy.ENFORCE
    assert policies.of("madrid", PARKING) is Policy.ENFORCE
    assert policies.of("", ROAD) is Policy.WARN


def test_the_policy_of_a_tenant_goes_before_that_of_all_tenants() -> None:
    policies = Policies(
        Policy.WARN, {("madrid", PARKING): Policy.OFF, (None, PARKING): Policy.ENFORCE, ("", ROAD): Policy.OFF}
    )
    assert policies.of("madrid", PARKING) is Policy.OFF
    assert policies.of("porto", PARKING) is Policy.ENFORCE
    assert policies.of("", ROAD) is Policy.OFF
    assert policies.of("porto", ROAD) is Policy.WARN


def test_what_holds_in_a_tenant_holds_in_its_snapshots() -> None:
    policies = Policies(Policy.WARN, {("madrid", PARKING): Policy.ENFORCE})
    assert policies.of(snapshot_content("madrid", "urn:snapshot:1", "token"), PARKING) is Policy.ENFORCE
