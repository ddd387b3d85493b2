"""Where webhooks may lead: URLs without tricks, and connections to public addresses alone.

A URL is checked when it is entered. Its host is resolved when something is sent; the addresses that come out are
checked, and the connection is made to a checked address and not to the name. So a name that leads elsewhere a moment
later changes nothing (DNS rebinding). TLS asks for the certificate of the name.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from httpcore2 import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError

from jobs.webhooks.tables import MOST_URL

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, in the order in which they are tried. Raises OSError where there are none."""
Connector = Callable[[str, int], Awaitable[AsyncNetworkStream]]
"""Connects to an address, which is no name any more."""

ALLOW: Final = "ADDER_WEBHOOK_ALLOW_PRIVATE=1 allows addresses inside your network"
MOST_TRIED: Final = 4
"""Addresses of one host that one attempt tries."""
HOST: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\Z")
NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
"""A last label like this makes a host an IPv4 address for resolvers (WHATWG URL, "ends in a number")."""
PORTS: Final = {"http": 80, "https": 443}
FIRST_FREE_PORT: Final = 1024

GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""All that IPv6 has of public addresses (RFC 4291, IANA)."""
DOCUMENTATION: Final = IPv6Network("3fff::/20")
"""RFC 9637; Python's tables may be older."""
COMPATIBLE: Final = IPv6Network("::/96")
NAT64: Final = IPv6Network("64:ff9b::/96")


class BadUrl(ValueError):
    """No webhook may lead there. The text goes on after the field's name."""


class Refused(ConnectError):
    """The host has no address to which the service sends."""


@dataclass(frozen=True)
class Target:
    """A URL in its checked parts. Requests are made of these, so nobody reads the URL a second time."""

    scheme: str
    host: str
    """A name, or an address without brackets."""
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """For the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def target_of(url: str, *, private: bool) -> Target:
    """Reads a webhook's URL.

    Args:
        url: as it was entered.
        private: whether addresses inside the network are allowed, and plain http with them.

    Raises:
        BadUrl: it is none, or leads where no webhook may lead.
    """
    if len(url) > MOST_URL:
        raise BadUrl(f"has {len(url)} characters; a URL may have {MOST_URL}")
    if not re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", url):
        raise BadUrl("must be a URL of visible ASCII characters without backslash; write other letters as %XX or xn--…")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadUrl(f"is no URL: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadUrl("must be a URL such as https://hooks.example/adder")
    if "@" in parts.netloc:
        raise BadUrl("must not carry a name or a password; the signature tells who sends")
    if "#" in url:
        raise BadUrl("must have no fragment (#…): it is never sent")
    host = parts.hostname.removesuffix(".")
    _check_host(host, private=private)
    if parts.scheme == "http" and not private:
        raise BadUrl(f"must begin with https://: anybody on the way reads plain http. {ALLOW}, and http with them")
    port = PORTS[parts.scheme] if port is None else port
    usual = port in PORTS.values() or port >= FIRST_FREE_PORT
    if port == 0 or not (private or usual):
        raise BadUrl(f"names port {port}; use 443, 80 or one from {FIRST_FREE_PORT} on")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def _check_host(host: str, *, private: bool) -> None:
    shown = host[:60]
    address: IPv4Address | IPv6Address | None = None
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            raise BadUrl(f"names the host {shown}, which is no IPv6 address") from None
        if address.scope_id is not None:
            raise BadUrl(f"names the host {shown}: an address with a zone (%…) is a link-local one")
    elif not HOST.match(host):
        raise BadUrl(f"names the host {shown}, which is no name of a host")
    elif NUMBER.match(host.rpartition(".")[2]):
        try:
            address = IPv4Address(host)
        except ValueError:
            raise BadUrl(f"names the host {shown}; write an IPv4 address as four decimal numbers") from None
    if private:
        return
    local = host == "localhost" or host.endswith(".localhost")
    if local or (address is not None and not is_public(address)):
        raise BadUrl(f"names the host {shown}, which is no public address. {ALLOW}")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public internet: nothing private, shared, local, reserved or for many.

    An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4, Teredo) is as public as that is.
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    carried = list(_carried(address))
    if carried:
        return all(is_public(one) for one in carried)
    return address in GLOBAL_UNICAST and address not in DOCUMENTATION and address.is_global


def _carried(address: IPv6Address) -> Iterable[IPv4Address]:
    """The IPv4 addresses inside an IPv6 address, to which the packets may go in the end."""
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in COMPATIBLE or address in NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)


async def system_resolver(host: str, port: int, threads: Executor | None = None) -> list[str]:
    """The addresses that the system's resolver names, in a thread: its calls cannot be ended."""

    def look_up() -> list[str]:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    return list(dict.fromkeys(await asyncio.get_running_loop().run_in_executor(threads, look_up)))


async def system_connector(address: str, port: int) -> AsyncNetworkStream:
    """A TCP connection to an address."""
    return await AnyIOBackend().connect_tcp(address, port)


class Guard(AsyncNetworkBackend):
    """Connects to hosts whose addresses are allowed."""

    def __init__(
        self, *, private: bool, resolve: Resolver = system_resolver, connect: Connector = system_connector
    ) -> None:
        """
        Args:
            private: whether addresses inside the network are allowed.
            resolve: finds the addresses of a name.
            connect: connects to one of them.
        """
        self.private = private
        self._resolve = resolve
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """A connection to the first address of the host that is allowed and answers.

        Raises:
            Refused: it has none that is allowed. The text does not tell why: names inside the network stay unknown.
            ConnectError: none of them answers.
        """
        allowed = [address for address in await self._addresses(host, port) if self._may(address)]
        failed: ConnectError | OSError = Refused(
            f"{host[:60]} has no address" if self.private else f"{host[:60]} has no public address. {ALLOW}"
        )
        for address in allowed[:MOST_TRIED]:
            try:
                return await self._connect(address, port)
            except (ConnectError, OSError) as error:
                failed = error
        raise failed

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        try:
            return await self._resolve(host, port)
        except (OSError, UnicodeError):
            return []

    def _may(self, address: str) -> bool:
        try:
            return self.private or is_public(ip_address(address))
        except ValueError:
            return False  # with a zone, or none at all
