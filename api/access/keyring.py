"""The keys that an API process has seen lately, so that a request does not ask the database each time.

What it knows of a key is a second old at most: a key that was revoked is dead within two.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import structlog
from anyio.to_thread import run_sync
from sqlalchemy.exc import SQLAlchemyError

from jobs.access import keys
from jobs.access.keys import BadKey, Identity
from jobs.access.scope import SERVICE, ServiceTransaction
from jobs.database import Database

KEEP_SECONDS = 1.0
MOST = 10_000
"""Keys and sign-ins that are kept."""

log = structlog.get_logger()


class Keyring:
    """Used on the event loop alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: OrderedDict[str, tuple[float, Identity]] = OrderedDict()

    async def of_key(self, text: str) -> Identity:
        """Whose key a text is. Raises BadKey."""
        return await self._get(f"key {keys.sha256(text)}", lambda session: keys.identify(session, text))

    async def of_browser(self, token: str) -> Identity:
        """Who is signed in with a browser's token. Raises BadKey."""
        name = f"browser {keys.sha256(token)}"
        return await self._get(name, lambda session: keys.identify_browser(session, token))

    def forget_browser(self, token: str) -> None:
        """Forgets a browser that has just signed out."""
        self._found.pop(f"browser {keys.sha256(token)}", None)

    async def is_valid(self, key_id: str) -> bool:
        """Whether a key is valid still; yes, while the database is away."""
        try:
            await self._get(f"id {key_id}", lambda session: keys.still(session, key_id))
        except BadKey:
            return False
        except SQLAlchemyError:
            return True
        return True

    async def _get(self, name: str, look: Callable[[ServiceTransaction], Identity]) -> Identity:
        kept = self._found.get(name)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        self._found.pop(name, None)
        began = time.monotonic()
        found = await run_sync(self._look_up, look)
        self._found[name] = began + KEEP_SECONDS, found
        while len(self._found) > MOST:
            self._found.popitem(last=False)
        return found

    def _look_up(self, look: Callable[[ServiceTransaction], Identity]) -> Identity:
        with self._database.read(SERVICE) as session:
            found = look(session)
        if found.stale:
            try:
                with self._database.write(SERVICE) as session:
                    keys.used(session, found.key_id)
            except SQLAlchemyError as error:
                log.warning("key.use_not_noted", key=found.key_id, error=str(error.__cause__ or error))
        return found
