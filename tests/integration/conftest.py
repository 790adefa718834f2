"""Fixtures of the tests that talk to a broker on the wire."""

from collections.abc import AsyncIterator, Iterator

import pytest

from broker.local import LocalBroker, is_ready
from broker.outbound import Outbound, OutboundPolicy
from broker.posting import Poster
from tests.integration.servers import Site, serving


@pytest.fixture(scope="module")
def port(broker_process: LocalBroker) -> int:
    """The port of the broker that the tests of a module share."""
    return broker_process.settings.port


@pytest.fixture(scope="module")
def steady(broker_process: LocalBroker) -> Iterator[None]:
    """After all tests of the module the same process is still ready, and has logged no error."""
    process = broker_process.process
    assert process is not None
    yield
    assert process.poll() is None, broker_process.log_file.read_text()[-3000:]
    assert is_ready("127.0.0.1", broker_process.settings.port)
    errors = [line for line in broker_process.log_file.read_text().splitlines() if '"level": "error"' in line]
    assert not errors, errors[:3]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A server on this machine, to be filled with pages."""
    site = Site()
    async with serving(site):
        yield site


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """What sends requests to servers, under the usual policy."""
    outbound = Outbound(OutboundPolicy())
    await outbound.start()
    yield outbound
    await outbound.close()


@pytest.fixture
async def poster(outbound: Outbound) -> AsyncIterator[Poster]:
    """What posts to servers, under the usual policy."""
    poster = Poster(outbound)
    yield poster
    await poster.close()
