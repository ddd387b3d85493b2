"""The two clients: one that blocks, and its twin for asynchronous programs. Both have the same names."""

from adderclient._async.client import AsyncClient
from adderclient._sync.client import Client
from adderclient.transport import DEFAULT_URL

__all__ = ["DEFAULT_URL", "AsyncClient", "Client"]
