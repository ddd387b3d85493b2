"""Keys that `adder login` stored, by the server's address, in a file that only its owner may read."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import httpx2

from adderclient.errors import AdderClientError
from adderclient.transport import DEFAULT_URL, is_loopback

ANYWAY = "ADDER_INSECURE"
"""Set to 1, it lets a key go over plain http to another machine; `--insecure` sets it."""


def file() -> Path:
    """Where the profiles are: ``$XDG_CONFIG_HOME/adderworks/profiles.json``, by default below ``~/.config``."""
    try:
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "adderworks" / "profiles.json"
    except RuntimeError:
        raise AdderClientError("there is no home folder for profiles.json: set XDG_CONFIG_HOME") from None


def key_of(url: str) -> str | None:
    """The key that is stored for a server; None where there is none."""
    found = _read().get("keys", {}).get(_address(url))
    return found if isinstance(found, str) else None


def own_url() -> str:
    """The server of a command without ``--url``: ``ADDER_URL``, else that of the last `adder login`."""
    found = os.environ.get("ADDER_URL") or _read().get("url")
    return found if isinstance(found, str) else DEFAULT_URL


def own_key(url: str) -> str | None:
    """The key that a command sends to a server: ``ADDER_API_KEY``, else that of `adder login`; None: none."""
    return os.environ.get("ADDER_API_KEY") or key_of(url)


def store(url: str, key: str) -> Path:
    """Stores a key for a server, which is from now on the one that commands talk to.

    Args:
        url: the server's address.
        key: ``adw_…``.

    Returns:
        The file, of mode 600.
    """
    document = _read()
    document["url"] = url
    document.setdefault("keys", {})[_address(url)] = key
    return _write(document)


def forget(url: str) -> bool:
    """Removes the key of a server. Returns whether there was one."""
    document = _read()
    known = document.get("keys", {}).pop(_address(url), None)
    if known is not None:
        _write(document)
    return known is not None


def require_private(url: str, key: str | None) -> None:
    """Keeps a key from going over plain http to another machine, where everybody on the way can read it.

    Args:
        url: an `address`. It is read as the requests read it: another reader could see another host in it.
        key: what requests carry.

    Raises:
        AdderClientError: it would, and nobody said that it may.
    """
    parts = httpx2.URL(url)
    if key and parts.scheme == "http" and not is_loopback(parts.host) and os.environ.get(ANYWAY) != "1":
        raise AdderClientError(
            f"{url} is plain http: everybody on the way could read your key. Use https://, or say --insecure "
            f"({ANYWAY}=1) where the way is safe."
        )


def _address(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1").lower()


def _read() -> dict[str, Any]:
    try:
        found = json.loads(file().read_text(encoding="utf-8"))
    except (AdderClientError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("keys", {}), dict) else {}


def _write(document: dict[str, Any]) -> Path:
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 600 from the start
    with os.fdopen(handle, "w") as sink:
        json.dump(document, sink, indent=2)
    os.replace(name, path)
    return path
