import pytest
from yarl import URL

from broker.outbound import OutboundPolicy, OutboundRefused


def allows(policy: OutboundPolicy, host: str, address: str) -> bool:
    try:
        policy.check_address(host, address)
    except OutboundRefused:
        return False
    return True


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "0251.0376.0251.0376",
    ],
)
def test_link_local_and_metadata_addresses_are_refused_by_default(address: str):
    assert not allows(OutboundPolicy(), "service.example", address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "::1", "8.8.8.8", "fd00::1"])
def test_other_addresses_are_allowed_by_default(address: str):
    assert allows(OutboundPolicy(), "service.example", address)


def test_what_is_allowed_is_exempt_from_what_is_denied():
    policy = OutboundPolicy(allow=["10.1.0.0/16", "Hub.City.example"], deny=["0.0.0.0/0", "::/0"])

    assert allows(policy, "a.example", "10.1.2.3")
    assert allows(policy, "hub.city.example.", "192.0.2.1")
    assert not allows(policy, "a.example", "10.2.0.1")
    assert not allows(policy, "a.example", "2001:db8::1")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://169。254。169。254/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[fe80::1%25eth0]/",
        "http://2852039166/",
        "http://127.1/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "relative",
        "http:///path",
    ],
)
def test_urls_are_refused_before_anything_is_resolved(url: str):
    with pytest.raises(OutboundRefused):
        OutboundPolicy().check_url(URL(url))


@pytest.mark.parametrize("url", ["http://example.org/", "https://127.0.0.1:8080/x", "HTTP://[::1]/"])
def test_ordinary_urls_pass(url: str):
    OutboundPolicy().check_url(URL(url))


@pytest.mark.parametrize("entry", ["", "10.0.0.0/99", "300.1.1.1", "::zz", "a/b"])
def test_an_entry_that_cannot_be_read_is_an_error(entry: str):
    with pytest.raises(ValueError, match="no network"):
        OutboundPolicy(allow=[entry])
    with pytest.raises(ValueError, match="no network"):
        OutboundPolicy(deny=[entry])


def test_a_host_name_cannot_be_denied():
    with pytest.raises(ValueError, match="no network to deny"):
        OutboundPolicy(deny=["example.org"])
