"""Requests that Vela sends to addresses which clients choose: the one policy for all of them, and what downloads.

An address is checked where it is used: the resolver hands the connector only addresses that passed, so a name cannot
resolve to one address for the check and to another for the connection. Redirects are followed by hand, each one
checked like a first request. There are no cookies, no proxies from the environment, and no header that would carry a
credential to another host.
"""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

import aiohttp
import orjson
from aiohappyeyeballs import start_connection
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from broker.settings import CLOUD_METADATA

JSON_LD = "application/ld+json"
_ACCEPT_JSON_LD = f"{JSON_LD}, application/json;q=0.9, */*;q=0.1"
_NAT64 = ip_network("64:ff9b::/96")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UTF8_MARK = b"\xef\xbb\xbf"
_KEPT_ALIVE = 15.0
_NEXT_ADDRESS_AFTER = 0.25

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class OutboundError(Exception):
    """A request got no usable answer; the text says why, as the end of a sentence about the URL."""


class OutboundRefused(OutboundError):
    """The policy does not let Vela send the request."""


class InvalidAnswer(OutboundError):
    """The answer came, but its body is not JSON."""


class _AddressRefusedError(OSError):
    """What the resolver raises: aiohttp takes an OSError as the reason of a failed connection."""


class OutboundPolicy:
    """Where requests may go: everywhere but to the networks of `deny`, unless `allow` has the network or host name.

    `allow` and `deny` hold networks or single addresses ("10.0.0.0/8", "192.168.1.7"), `allow` also host names, which
    are exempt whatever address they resolve to. By default link-local addresses and those of the cloud providers'
    metadata services are denied, and private ones are not: the services of a city live there. `schemes` in lower case.
    Raises ValueError for an entry that cannot be read.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        deny: Iterable[str] = CLOUD_METADATA,
        schemes: Iterable[str] = ("http", "https"),
    ) -> None:
        parsed = {entry: _network(entry) for entry in allow}
        self._allow = tuple(network for network in parsed.values() if network is not None)
        self._hosts = frozenset(_plain(entry) for entry, network in parsed.items() if network is None)
        denied = {entry: _network(entry) for entry in deny}
        for entry, network in denied.items():
            if network is None:
                raise ValueError(f"{entry!r} is no network to deny: expected an address or a network as 10.0.0.0/8")
        self._deny = tuple(network for network in denied.values() if network is not None)
        self.schemes = frozenset(schemes)

    def check_url(self, url: URL) -> None:
        """Raise OutboundRefused if the scheme, or a host that is an address itself, is not allowed."""
        if url.scheme not in self.schemes:
            raise OutboundRefused(f"the scheme {url.scheme!r} is not allowed, only {', '.join(sorted(self.schemes))}")
        host = url.raw_host
        if not host:
            raise OutboundRefused("it names no host")
        if ":" in host or host.replace(".", "").isdigit():
            self.check_address(host, host)

    def check_address(self, host: str, address: str) -> None:
        """Raise OutboundRefused if requests to `host` may not go to `address`, to which it resolved."""
        if _plain(host) in self._hosts:
            return
        try:
            faces = _faces(ip_address(address.partition("%")[0]))
        except ValueError as error:
            raise OutboundRefused(f"{address!r} is no address in its usual form") from error
        if any(_within(face, self._deny) for face in faces) and not any(_within(face, self._allow) for face in faces):
            raise OutboundRefused(f"requests to {address} are not allowed (VELA_OUTBOUND_DENY, VELA_OUTBOUND_ALLOW)")


class _CheckedResolver(AbstractResolver):
    """Resolves host names, to the addresses that the policy allows."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        allowed: list[ResolveResult] = []
        refusal: OutboundRefused | None = None
        for result in await self._resolver.resolve(host, port, family):
            try:
                self._policy.check_address(host, result["host"])
            except OutboundRefused as error:
                refusal = error
            else:
                allowed.append(result)
        if not allowed and refusal is not None:
            raise _AddressRefusedError(str(refusal))
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class JsonAnswer(NamedTuple):
    """A decoded answer, its headers, and the URL that it came from in the end."""

    document: Any
    headers: Mapping[str, str]
    url: str


class Outbound:
    """The HTTP client of the process: one pool of `connections`, `per_host` of them at most for one host and port."""

    def __init__(self, policy: OutboundPolicy, *, connections: int = 1_000, per_host: int = 100) -> None:
        self.policy = policy
        self._connections = connections
        self._per_host = per_host
        self._open: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the pool, in the event loop that will use it."""
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(self.policy),
            limit=self._connections,
            limit_per_host=self._per_host,
            keepalive_timeout=_KEPT_ALIVE,
        )
        self._open = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None),
            headers={"User-Agent": "Vela"},
        )

    async def close(self) -> None:
        """Close all connections. May be called more than once."""
        if self._open is not None:
            await self._open.close()
            self._open = None

    async def get_json(
        self,
        url: str,
        *,
        accept: str = _ACCEPT_JSON_LD,
        max_bytes: int,
        timeout: float,  # noqa: ASYNC109 - part of what is asked for, and it covers all redirects together
        max_redirects: int,
    ) -> JsonAnswer:
        """The JSON document at `url`, in at most `timeout` seconds and `max_bytes` bytes after decompression.

        A page that is no JSON but names a JSON-LD alternate in its Link header counts as a redirect to it (JSON-LD 1.1
        API, "remote document and context retrieval"). Raises OutboundRefused, InvalidAnswer or OutboundError.
        """
        try:
            async with asyncio.timeout(timeout):
                target = _url(url)
                for _ in range(max_redirects + 1):
                    self.policy.check_url(target)
                    async with self._session.get(target, headers={"Accept": accept}, allow_redirects=False) as answer:
                        following = _following(answer)
                        if following is None:
                            document = _decode(await _body(answer, max_bytes))
                            return JsonAnswer(document, answer.headers.copy(), str(target))
                        target = _url(following)
        except TimeoutError as error:
            raise OutboundError(f"there was no complete answer within {timeout:g} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise _failure(error) from error
        raise OutboundError(f"it led to more than {max_redirects} redirects")

    async def connect(self, host: str, port: int) -> socket.socket:
        """A TCP connection, its socket not blocking, for protocols other than HTTP.

        Raises OutboundRefused, or OutboundError where nothing answers; it is up to the caller to set a time limit.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise OutboundError("its host name cannot be resolved") from error
        allowed = []
        refusal = OutboundError("its host name has no address")
        for one in found:
            try:
                self.policy.check_address(host, str(one[4][0]))
                allowed.append(one)
            except OutboundRefused as error:
                refusal = error
        if not allowed:
            raise refusal
        try:
            return await start_connection(allowed, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER, interleave=1)
        except OSError as error:
            raise OutboundError(f"it cannot be connected to ({error.strerror or error})") from error

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            raise OutboundError("Vela is not started, or is stopping")
        return self._open


def _network(entry: str) -> Network | None:
    """`entry` as a network, or None if it is a host name."""
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        if "/" in entry or ":" in entry or not entry or entry.replace(".", "").isdigit():
            raise ValueError(f"{entry!r} is no network: expected an address or a network as 10.0.0.0/8") from None
        return None


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _faces(address: Address) -> list[Address]:
    """`address`, and the IPv4 address inside an IPv6 one, which may be where packets end up."""
    faces = [address]
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            faces.append(inner)
    return faces


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _url(text: str | URL) -> URL:
    try:
        return URL(text)
    except (ValueError, TypeError) as error:
        raise OutboundRefused("it is no URL") from error


def _following(answer: aiohttp.ClientResponse) -> URL | None:
    """Where a redirect, or the Link to a JSON-LD alternate, leads; None for an answer to be read."""
    if answer.status in _REDIRECTS:
        location = answer.headers.get("Location")
        if not location:
            raise OutboundError(f"it answered {answer.status} without saying where to go")
        return _joined(answer.url, location)
    if answer.status != 200:
        raise OutboundError(f"it answered {answer.status}")
    if not answer.content_type.endswith("json"):
        for link in answer.links.values():
            if link.get("rel") == "alternate" and link.get("type") == JSON_LD:
                return _joined(answer.url, str(link["url"]))
    return None


def _joined(base: URL, reference: str) -> URL:
    target = base.join(_url(reference))
    # Whatever the client's URL or the server put before an "@" is no credential for another host.
    return target if target.origin() == base.origin() else target.with_user(None)


async def _body(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = answer.content_length or 0
    if size <= max_bytes:
        size = 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > max_bytes:
                break
            chunks.append(chunk)
    if size > max_bytes:
        answer.close()
        raise OutboundError(f"its answer has more than {max_bytes} bytes")
    return b"".join(chunks)


def _decode(body: bytes) -> Any:
    try:
        return orjson.loads(body.removeprefix(_UTF8_MARK))
    except orjson.JSONDecodeError as error:
        raise InvalidAnswer(f"its answer is not JSON ({error})") from error


def _failure(error: Exception) -> OutboundError:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _AddressRefusedError):
        return OutboundRefused(str(error.os_error))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return OutboundError("its host name cannot be resolved")
    if isinstance(error, aiohttp.ClientConnectorError):
        return OutboundError(f"it cannot be connected to ({error.os_error.strerror or error.os_error})")
    return OutboundError(f"the request failed ({type(error).__name__}{f': {error}' if str(error) else ''})")
