"""Who this context source is (clauses 5.15, 5.2.40)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.source_identity import SourceIdentity, duration
from broker.ngsild.names import is_uri

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
TENANTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


def test_the_document_has_all_members_of_the_table() -> None:
    document = SourceIdentity("here", {"product": "Vela"}).document("")
    assert document["type"] == "ContextSourceIdentity"
    assert document["contextSourceAlias"] == "here"
    assert document["contextSourceUptime"] == "P0DT0H0M0S"
    assert document["contextSourceTimeAt"].endswith("Z")
    assert document["contextSourceExtras"] == {"product": "Vela"}


@given(TENANTS, TENANTS)
def test_every_tenant_has_an_alias_of_its_own_that_a_via_header_can_carry(one: str, other: str) -> None:
    identity = SourceIdentity("here", {})
    assert (identity.alias(one) == identity.alias(other)) is (one == other)
    assert TOKEN.fullmatch(identity.alias(one))
    assert is_uri(identity.document(one)["id"])


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "P0DT0H0M0S"), (59, "P0DT0H0M59S"), (3_661, "P0DT1H1M1S"), (90_061, "P1DT1H1M1S")]
)
def test_durations_are_written_as_iso_8601(seconds: float, text: str) -> None:
    assert duration(seconds) == text
