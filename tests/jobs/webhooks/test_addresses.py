"""Where webhooks may lead. Nothing but loopback is dialled: names and connections are the test's own."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from jobs.webhooks.addresses import BadUrl, Guard, is_public, target_of
from jobs.webhooks.attempt import attempt
from jobs.webhooks.delivery_queue import Claimed, Outcome
from jobs.webhooks.signing import new_secret
from tests.support.receiver import PUBLIC, Net, Receiver

INSIDE = (
    *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "100.127.255.255", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "192.0.0.1"),
    *(
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "5f00::1",
    ),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a00:1"),
    *("64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe"),
)
OUTSIDE = (PUBLIC, "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1")


@pytest.mark.parametrize("address", INSIDE)
def test_no_address_inside_is_public(address: str) -> None:
    assert not is_public(ip_address(address))
    shown = f"[{address}]" if ":" in address else address
    with pytest.raises(BadUrl, match="ADDER_WEBHOOK_ALLOW_PRIVATE"):
        target_of(f"https://{shown}/x", private=False)
    assert target_of(f"https://{shown}/x", private=True).host == address


@pytest.mark.parametrize("address", OUTSIDE)
def test_addresses_outside_are(address: str) -> None:
    assert is_public(ip_address(address))


@given(inner=st.sampled_from([a for a in INSIDE if ":" not in a]))
def test_no_ipv6_dress_makes_an_inner_ipv4_address_public(inner: str) -> None:
    number = int(ip_address(inner))
    for dressed in (number, 0xFFFF << 32 | number, 0x64_FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert not is_public(ip_address(dressed.to_bytes(16, "big")))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://hooks.example", "such as https://hooks.example/adder"),
        ("https://", "such as https://hooks.example/adder"),
        ("hooks.example/x", "such as https://hooks.example/adder"),
        ("http://hooks.example/", "plain http"),
        ("https://user@hooks.example/", "name or a password"),
        ("https://hooks.example:443@127.0.0.1/", "name or a password"),
        ("https://localhost/", "no public address"),
        ("https://LOCALHOST./", "no public address"),
        ("https://x.localhost/", "no public address"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://0x7f000001/", "four decimal numbers"),
        ("https://0x7f.1/", "four decimal numbers"),
        ("https://0177.0.0.1/", "four decimal numbers"),
        ("https://127.1/", "four decimal numbers"),
        ("https://127.0.0.1./", "no public address"),
        ("https://1.1.1.0x1/", "four decimal numbers"),
        ("https://[fe80::1%25eth0]/", "zone"),
        ("https://[::1/", "is no URL"),
        ("https://hooks.example:0/", "port 0"),
        ("https://hooks.example:22/", "port 22"),
        ("https://hooks.example:99999/", "is no URL"),
        ("https://hooks.example/#part", "fragment"),
        ("https://hooks.example\\@127.0.0.1/", "visible ASCII"),
        ("https://hooks.example/ x", "visible ASCII"),
        ("https://１２７.0.0.1/", "visible ASCII"),
        ("https://hooks.example/\r\nX: y", "visible ASCII"),
        ("https://hooks%2eexample/", "no name of a host"),
        ("https://-x.example/", "no name of a host"),
        ("https://hooks.example/" + "x" * 2048, "2048"),
    ],
)
def test_a_url_with_a_trick_is_refused_with_its_reason(url: str, why: str) -> None:
    with pytest.raises(BadUrl, match=why):
        target_of(url, private=False)


def test_a_good_url_is_read_into_its_parts() -> None:
    target = target_of("https://Hooks.Example:8443/a/b?c=d", private=False)
    assert (target.host, target.port, target.path) == ("hooks.example", 8443, "/a/b?c=d")
    assert target.authority == "hooks.example:8443"
    assert target_of("https://hooks.example", private=False).authority == "hooks.example"
    assert target_of("http://[::1]:80", private=True).authority == "[::1]"


def tried(guard: Guard, url: str, tls: ssl.SSLContext | None = None) -> Outcome:
    claimed = Claimed("delivery_x", 1, "webhook_x", url, (new_secret(),), "event_x", "webhook.test", "{}")
    return asyncio.run(attempt(claimed, 1, guard, tls or ssl.create_default_context(), 10))


def reached(net: Net, host: str) -> str:
    """What a connection to a host comes to."""

    async def connect() -> str:
        try:
            await (await net.guard().connect_tcp(host, 443)).aclose()
        except Exception as error:  # noqa: BLE001
            return f"{type(error).__name__}: {error}"
        return "connected"

    return asyncio.run(connect())


def test_a_name_that_leads_inside_is_not_dialled(net: Net) -> None:
    for address in INSIDE:
        net.names["inside.example"] = [[address]]
        net.ports[address] = 1
        assert "Refused: inside.example has no public address" in reached(net, "inside.example")
    assert "Refused" in reached(net, "10.0.0.1"), "an address that came past the check of the URL"
    unknown = reached(net, "unknown.example").replace("unknown", "inside")
    assert unknown == reached(net, "inside.example"), "nobody learns which names there are inside"
    assert net.dialled == []


def test_of_several_addresses_the_public_ones_are_dialled_in_turn(net: Net) -> None:
    net.names["mixed.example"] = [["10.0.0.1", "1.1.1.1", PUBLIC, "::1"]]
    with Receiver() as receiver:
        net.ports[PUBLIC] = receiver.port
        assert reached(net, "mixed.example") == "connected"
    assert net.dialled == [("1.1.1.1", 443), (PUBLIC, 443)]


def test_a_name_that_changes_after_the_check_changes_nothing(net: Net) -> None:
    """DNS rebinding: the address that was checked is the one that is dialled, and the name is looked up once."""
    net.names["changing.example"] = [[PUBLIC], ["127.0.0.1"]]
    with Receiver() as receiver:
        net.ports = {PUBLIC: receiver.port, "127.0.0.1": receiver.port}
        assert reached(net, "changing.example") == "connected"
        assert net.looked_up == ["changing.example"]
        assert net.dialled == [(PUBLIC, 443)]
        assert "Refused" in reached(net, "changing.example"), "the next attempt looks again"


def test_the_settings_hold_for_urls_that_were_entered_before(net: Net) -> None:
    outcome = tried(net.guard(), "http://127.0.0.1/x")
    assert outcome.response_status is None
    assert "plain http" in (outcome.reason or "") or "no public address" in (outcome.reason or "")
    assert net.dialled == []


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of this name serves with, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(secret + pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "both.pem")
    trusting = ssl.create_default_context(cadata=pem.decode())
    return serving, trusting


def test_the_certificate_is_verified_for_the_name_and_not_for_the_address(net: Net, tmp_path: Path) -> None:
    serving, trusting = certified(tmp_path, "hooks.example")
    asked: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: asked.append(name)
    net.names = {"hooks.example": [[PUBLIC]], "other.example": [[PUBLIC]]}
    with Receiver(tls=serving) as receiver:
        net.ports[PUBLIC] = receiver.port
        assert tried(net.guard(), "https://hooks.example/x", trusting) == Outcome(204)
        assert receiver.taken[0].headers["host"] == "hooks.example"
        other = tried(net.guard(), "https://other.example/x", trusting)
        stranger = tried(net.guard(), "https://hooks.example/x", ssl.create_default_context())
    assert asked == ["hooks.example", "other.example", "hooks.example"]
    for refused in (other, stranger):
        assert "certificate is not valid" in (refused.reason or "")
    assert len(receiver.taken) == 1
    assert net.dialled == [(PUBLIC, 443)] * 3
