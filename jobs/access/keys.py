"""API keys: `adw_<key id>_<secret>_<check>`.

The secret has 200 random bits, so its hash needs no slow function and no salt: nobody can try that many, and no two
keys share one. The check (CRC-32 of what stands before it, in base 62) tells a typing error from a key that is unknown,
and lets secret scanners be sure of what they found.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, update

from jobs.access.roles import Role
from jobs.access.scope import DEFAULT_ID, OwnTransaction, Project, ServiceTransaction, Transaction, project_of
from jobs.access.tables import KeyRow, ProjectRow, SignIn
from jobs.clock import now_ms
from jobs.errors import Conflict, JobsError, NotFound
from jobs.ids import new_id
from jobs.repository.core import now
from jobs.repository.paging import Page, page

PREFIX: Final = "adw"
SECRET_BYTES: Final = 25
"""200 bits: 40 characters of base 32."""
ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECK_LENGTH: Final = 6
"""62^6 > 2^32."""
KEY: Final = re.compile(rf"{PREFIX}_([0-9a-z]{{26}})_([a-z2-7]{{40}})_([0-9A-Za-z]{{{CHECK_LENGTH}}})")
STAMP_MS: Final = 60_000
"""How exactly `last_used_at` is kept: each use would be a write."""
ROTATION_SECONDS: Final = 86_400
"""How long the old key stays valid after a rotation, where nothing else is asked for."""
SIGN_IN_MS: Final = 7 * 86_400_000
"""How long a browser stays signed in at most."""


class BadKey(JobsError):
    """A text is no key, or none that is valid."""


@dataclass(frozen=True)
class Identity:
    """Whose key it is, and what it may do."""

    key_id: str
    key_name: str
    role: Role
    project: Project
    project_name: str
    max_streams: int | None
    requests_per_minute: int | None
    ends_at: int | None
    """When it ends by itself, in ms since 1970."""
    stale: bool = False
    """Whether its last use should be written down again."""


def _check(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().lower().rstrip("=")


def new_text(key_id: str | None = None) -> str:
    """The text of a new key.

    Args:
        key_id: its id, `key_…`; a new one where there is none.
    """
    id_ = (key_id or new_id("key")).removeprefix("key_")
    text = f"{PREFIX}_{id_}_{_base32(secrets.token_bytes(SECRET_BYTES))}"
    return f"{text}_{_check(text)}"


def parse(text: str) -> tuple[str, str]:
    """The key's id and the hash of its secret.

    Raises:
        BadKey: it is none, or was mistyped.
    """
    found = KEY.fullmatch(text)
    if found is None:
        raise BadKey("It is no key of this service: those begin with adw_.")
    if not hmac.compare_digest(_check(text.rpartition("_")[0]), found[3]):
        raise BadKey("The key was mistyped or cut: its check does not fit.")
    return f"key_{found[1]}", sha256(found[2])


def sha256(secret: str) -> str:
    """The hash under which a secret is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


# Who somebody is


def identify(session: ServiceTransaction, text: str) -> Identity:
    """Whose key a text is.

    Raises:
        BadKey: it is nobody's, or it was revoked or has expired. The message does not tell which.
    """
    key_id, digest = parse(text)
    row = session.get(KeyRow, key_id)
    # Compared also where there is no such key, so that the answer takes as long.
    fits = hmac.compare_digest(digest, row.secret_sha256 if row is not None else sha256(key_id))
    if row is None or not fits:
        raise BadKey("The key is not known, or was revoked, or has expired.")
    return identity_of(session, row)


def identify_browser(session: ServiceTransaction, token: str) -> Identity:
    """Whose browser has a token of `sign_in`. Raises BadKey as `identify` does: a sign-in ends with its key."""
    signed = session.get(SignIn, sha256(token))
    if signed is None or signed.expires_at <= now(session):
        raise BadKey("You are not signed in any more.")
    return identity_of(session, session.get_one(KeyRow, signed.key_id), signed.expires_at)


def still(session: ServiceTransaction, key_id: str) -> Identity:
    """The key as it is now. Raises BadKey where it is not valid any more."""
    row = session.get(KeyRow, key_id)
    if row is None:
        raise BadKey("The key is not known any more.")
    return identity_of(session, row)


def identity_of(session: ServiceTransaction, row: KeyRow, ends_at: int | None = None) -> Identity:
    """What a key's row says. Raises BadKey where it was revoked or has expired."""
    stamp = now(session)
    if any(at is not None and at <= stamp for at in (row.revoked_at, row.expires_at)):
        raise BadKey("The key is not known, or was revoked, or has expired.")
    project = session.get(ProjectRow, row.project_id)
    if project is None:
        raise BadKey("The key's project is not there any more.")
    ends = [at for at in (row.revoked_at, row.expires_at, ends_at) if at is not None]
    return Identity(
        key_id=row.id,
        key_name=row.name,
        role=Role(row.role),
        project=project_of(row),
        project_name=project.name,
        max_streams=project.max_streams,
        requests_per_minute=project.requests_per_minute,
        ends_at=min(ends, default=None),
        stale=row.last_used_at is None or stamp - row.last_used_at >= STAMP_MS,
    )


def used(session: ServiceTransaction, key_id: str) -> None:
    """Writes down that a key is in use."""
    old = now_ms() - STAMP_MS
    session.execute(
        update(KeyRow)
        .where(KeyRow.id == key_id, func.coalesce(KeyRow.last_used_at, 0) <= old)
        .values(last_used_at=now_ms())
    )


def sign_in(session: ServiceTransaction, identity: Identity) -> tuple[str, int]:
    """Signs a browser in.

    Returns:
        The token for its cookie, of which only a hash is stored, and when it ends.
    """
    token = secrets.token_urlsafe(32)
    ends = min(at for at in (now(session) + SIGN_IN_MS, identity.ends_at) if at is not None)
    session.add(
        SignIn(
            token_sha256=sha256(token),
            project_id=identity.project.id,
            key_id=identity.key_id,
            created_at=now(session),
            expires_at=ends,
        )
    )
    return token, ends


def sign_out(session: ServiceTransaction, token: str) -> None:
    """Ends a browser's sign-in."""
    row = session.get(SignIn, sha256(token))
    if row is not None:
        session.delete(row)


# The keys of a project


def create(
    session: OwnTransaction, name: str, role: Role, expires_at: int | None, *, by: str | None
) -> tuple[KeyRow, str]:
    """Makes a key of the transaction's project.

    Args:
        session: a transaction of the project.
        name: what people call it.
        role: what it may do.
        expires_at: when it ends, in ms since 1970; None: never.
        by: id of the key that makes it.

    Returns:
        The row, and the key itself, which is stored nowhere.
    """
    id_ = new_id("key")
    text = new_text(id_)
    row = _row(session, text, name, role, expires_at, by)
    session.add(row)
    session.flush()
    return row, text


def _row(
    session: Transaction,
    text: str,
    name: str,
    role: Role,
    expires_at: int | None,
    by: str | None,
) -> KeyRow:
    id_, digest = parse(text)
    return KeyRow(
        id=id_,
        name=name,
        role=role,
        secret_sha256=digest,
        created_at=now(session),
        created_by=by,
        expires_at=expires_at,
    )


def get(session: OwnTransaction, key_id: str) -> KeyRow:
    """A key of the project. Raises NotFound."""
    row = session.get(KeyRow, key_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("key", key_id)
    return row


def list_keys(session: OwnTransaction, *, limit: int, after: str | None) -> Page:
    """The keys of the project, newest first."""
    return page(session, select(KeyRow), KeyRow.id, {"list": "keys"}, limit, after)


def revoke(session: OwnTransaction, key_id: str) -> KeyRow:
    """Ends a key now. Idempotent."""
    row = get(session, key_id)
    stamp = now(session)
    if row.revoked_at is None or row.revoked_at > stamp:
        row.revoked_at = stamp
    return row


def rotate(session: OwnTransaction, key_id: str, keep_seconds: int, *, by: str | None) -> tuple[KeyRow, str]:
    """Makes a key in the place of another one, which stays valid for a while.

    Raises:
        NotFound: there is no such key.
        Conflict: it has ended, or was rotated before.
    """
    old = get(session, key_id)
    stamp = now(session)
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= stamp):
        raise Conflict("The key has ended or was rotated; make a new one.")
    made, text = create(session, old.name, Role(old.role), old.expires_at, by=by)
    old.revoked_at, old.replaced_by = stamp + 1000 * keep_seconds, made.id
    session.flush()
    return made, text


# The operator's key from the settings


def enter_operator_key(session: ServiceTransaction, text: str) -> bool:
    """Makes the operator's key of the settings valid. Returns whether it is new.

    Raises:
        BadKey: the text is no key.
        Conflict: the id belongs to another secret.
    """
    id_, digest = parse(text)
    found = session.get(KeyRow, id_)
    if found is not None:
        if not hmac.compare_digest(found.secret_sha256, digest):
            raise Conflict("ADDER_OPERATOR_KEY has the id of another key. Make a new one.")
        return False
    row = _row(session, text, "operator's key of the settings", Role.OPERATOR, None, None)
    row.project_id = DEFAULT_ID
    session.add(row)
    return True


def has_operator(session: ServiceTransaction) -> bool:
    """Whether any operator's key is valid."""
    stamp = now_ms()
    valid = (KeyRow.revoked_at.is_(None) | (KeyRow.revoked_at > stamp)) & (
        KeyRow.expires_at.is_(None) | (KeyRow.expires_at > stamp)
    )
    query = select(KeyRow.id).where(KeyRow.role == Role.OPERATOR, valid).limit(1)
    return session.execute(query).first() is not None
