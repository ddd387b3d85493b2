"""Part of the compose trial: the profile `tls`, Caddy in front of the API, with a given certificate and its own."""

from __future__ import annotations

import ipaddress
import os
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2

from tests.deploy.composing import START_SECONDS, Compose, check, output, say, spec, until
from tests.deploy.trial_projects import signed_in
from tests.support.uploads import folders, zipped

NAME = "adder.test"
ADDRESS = "127.83.0.1"
"""Of loopback, so that ports 80 and 443 of this machine may be in use elsewhere."""
ROOT_CERTIFICATE = "/data/caddy/pki/authorities/local/root.crt"
UPLOAD_BYTES = 4_000_000
OPERATOR = 12345
"""The user of the certificate's files, who is not root."""


def settings(folder: Path) -> dict[str, str]:
    """What `.env` says for the profile."""
    return {
        "ADDERWORKS_HOSTNAME": NAME,
        "ADDERWORKS_TLS_BIND": ADDRESS,
        "ADDERWORKS_CERTIFICATES": str(folder / "certificates"),
        "ADDER_ALLOWED_HOSTS": f"localhost,{NAME}",
    }


def proxied(compose: Compose, folder: Path) -> None:
    certificate = own_certificate(folder / "certificates", int(compose.setting("ADDERWORKS_SECRETS_GROUP")))
    compose.set("ADDERWORKS_TLS", "/certificates/cert.pem /certificates/key.pem")
    compose("--profile", "tls", "up", "--detach")
    with site(certificate.read_text()) as https:
        until(lambda: answers(https), "the proxy answers with one's own certificate", START_SECONDS)
        through(compose, https)
    compose.set("ADDERWORKS_TLS", "internal")
    compose("--profile", "tls", "up", "--detach")
    root = until(lambda: root_certificate(compose), "the proxy has an authority of its own", START_SECONDS)
    with site(root) as https:
        until(lambda: answers(https), "the proxy answers with `tls internal`", START_SECONDS)
    say("the proxy's own certificate is verified against its authority")
    compose("--profile", "tls", "stop", "proxy")
    compose("--profile", "tls", "rm", "--force", "proxy")


def own_certificate(folder: Path, group: int) -> Path:
    """A certificate in files that the operator and the group of the secrets can read."""
    folder.mkdir()
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-keyout", str(key), "-out", str(cert), "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run(made, check=True, capture_output=True)
    user = OPERATOR if os.getuid() == 0 else os.getuid()
    for path, mode in ((cert, 0o640), (key, 0o640), (folder, 0o750)):
        path.chmod(mode)
        os.chown(path, user, group)
    return cert


def site(authority: str) -> httpx2.Client:
    """A client that believes this authority alone, and asks the proxy by its name."""
    trusted = ssl.create_default_context(cadata=authority)
    return httpx2.Client(base_url=f"https://{NAME}", transport=ByName(trusted), timeout=60)


class ByName(httpx2.HTTPTransport):
    """Connects to the proxy's address; the name stays in the request and in TLS, as if a name server knew it."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        super().__init__(verify=trusted)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        there = request.url.copy_with(host=ADDRESS)
        extensions = {**request.extensions, "sni_hostname": NAME}
        # A request of its own: cookies belong to the name.
        asked = httpx2.Request(
            request.method, there, headers=request.headers, stream=request.stream, extensions=extensions
        )
        return super().handle_request(asked)


def answers(https: httpx2.Client) -> bool:
    try:
        return https.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def root_certificate(compose: Compose) -> str:
    script = f"cat {ROOT_CERTIFICATE} 2>/dev/null || true"
    return compose("--profile", "tls", "exec", "-T", "proxy", "sh", "-c", script).strip()


def through(compose: Compose, https: httpx2.Client) -> None:
    """What a proxy breaks when it is set up wrongly."""
    plain = httpx2.get(f"http://{ADDRESS}/jobs", headers={"Host": NAME})
    to = plain.headers.get("location", "")
    check(plain.status_code == 308 and to == f"https://{NAME}/jobs", f"plain HTTP: {plain.status_code} {to}")
    answer = signed_in(https, compose.secrets["operator_key"])
    cookie = answer.headers["set-cookie"]
    check(all(word in cookie for word in ("Secure", "HttpOnly")), f"the cookie: {cookie}")
    check(https.get("/").status_code == 200, "a page with the cookie")
    https.cookies.clear()
    https.headers["Authorization"] = f"Bearer {compose.secrets['operator_key']}"
    client_address(compose, https)
    upload(https)
    stream(https)
    say(f"HTTPS as {NAME}: redirect, Secure cookie, client's address, an upload, events at once")


def client_address(compose: Compose, https: httpx2.Client) -> None:
    """The audit has the address that reached the proxy: neither the proxy's own, nor one that the client made up."""
    made = https.post("/v1/keys", json={"name": "by the proxy"}, headers={"X-Forwarded-For": "192.0.2.66"})
    check(made.status_code == 201, f"a key by the proxy: {made.status_code} {made.text[:200]}")
    entry = https.get("/v1/audit", params={"limit": 1}).json()["data"][0]
    networks = compose.containers("proxy")[0]["NetworkSettings"]["Networks"]
    address = ipaddress.ip_address(entry["address"])
    own = {name: net["IPAddress"] for name, net in networks.items()}
    check(str(address) not in {*own.values(), "192.0.2.66"}, f"the audit has {address}; the proxy is {own}")
    outside = next(net for name, net in networks.items() if name.endswith("outside"))
    check(
        str(address) in (outside["Gateway"], ADDRESS, "127.0.0.1"), f"the audit has {address}, not {outside['Gateway']}"
    )


def upload(https: httpx2.Client) -> None:
    data = zipped(folders("leaf", "stem", images=8, size=(512, 512), channels=1))
    check(len(data) > UPLOAD_BYTES, f"the upload has {len(data)} bytes only")
    options = {"name": "proxied", "options": '{"size": [8, 8]}'}
    made = https.post("/v1/datasets", data=options, files={"file": ("a.zip", data)})
    check(made.status_code == 201, f"an upload by the proxy: {made.status_code} {made.text[:200]}")


def stream(https: httpx2.Client) -> None:
    """Metrics of a training come while it trains."""
    job = https.post("/v1/jobs", json=spec(12, seed=9)).raise_for_status().json()["id"]
    began, first = time.monotonic(), 0.0
    with https.stream("GET", f"/v1/jobs/{job}/stream", timeout=120) as events:
        check(events.headers["content-type"].startswith("text/event-stream"), f"a stream: {events.headers}")
        for line in events.iter_lines():
            if line.startswith("event: metric"):
                first = first or time.monotonic() - began
    whole = time.monotonic() - began
    ended: dict[str, Any] = https.get(f"/v1/jobs/{job}").json()
    check(ended["status"] == "succeeded", f"the streamed job: {ended['status']}")
    check(0 < first < 0.8 * whole, f"the first metric came after {first:.1f} s of {whole:.1f} s: held back")
    version = output(["openssl", "version"]).split()[1]
    say(f"first metric after {first:.1f} s of {whole:.1f} s through the proxy (certificate by OpenSSL {version})")
