# Made from adderclient/_async/access.py by `python -m adderclient.make_sync`: change that file, not this one.
"""``client.keys`` and ``client.projects``: who may use the service, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping

from adderclient._sync.transport import Transport
from adderclient.arguments import segment
from adderclient.records import AuditEntry, Key, Me, NewKey, Page, Project, ProjectUsage
from adderclient.transport import given


class Keys:
    """The keys of a project, for its admins.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, :class:`~adderclient.AuthenticationError` where the key may not do it, and :class:`~adderclient.ApiError`
    where the server refuses for another reason.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int | None = None, after: str | None = None, project: str | None = None) -> Page[Key]:
        """Asks for one page of the keys, newest first, those too that have ended.

        Args:
            limit: keys on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.
            project: name or id of another project than one's own (operators).

        Returns:
            The page.

        Raises:
            InvalidRequestError: the cursor is none.
        """
        params = given(limit=limit, after=after, project=project)
        return Page.from_json(self._transport.json("GET", "/v1/keys", params=params), Key.from_json)

    def make(
        self, name: str, *, role: str = "member", expires_at: str | None = None, project: str | None = None
    ) -> NewKey:
        """Makes a key.

        Args:
            name: what people call it: whose it is, or what it is for.
            role: ``viewer``, ``member``, ``admin`` or ``operator``; at most one's own.
            expires_at: when it ends, as in ``2027-01-31T00:00:00Z``; None: never.
            project: name or id of another project than one's own (operators).

        Returns:
            The key with its text, which is shown this once.

        Raises:
            InvalidRequestError: the name, the role or the time is none.
        """
        body = {"name": name, "role": role, "expires_at": expires_at}
        answer = self._transport.json("POST", "/v1/keys", params=given(project=project), json=body)
        return NewKey.from_json(answer)

    def revoke(self, id: str, *, project: str | None = None) -> None:
        """Ends a key: within two seconds it opens nothing any more.

        Args:
            id: the key's id, ``key_…``.
            project: name or id of another project than one's own (operators).

        Raises:
            NotFoundError: there is no such key.
        """
        self._transport.request("DELETE", _path("keys", id), params=given(project=project), repeatable=True)

    def rotate(self, id: str, *, keep_seconds: int | None = None, project: str | None = None) -> NewKey:
        """Makes a key in the place of another one, with its name, role and end.

        Args:
            id: the key's id, ``key_…``.
            keep_seconds: how long the old one stays valid; None: a day.
            project: name or id of another project than one's own (operators).

        Returns:
            The new key with its text, which is shown this once.

        Raises:
            NotFoundError: there is no such key.
            ConflictError: it has ended, or was rotated before.
        """
        params = given(keep_seconds=keep_seconds, project=project)
        return NewKey.from_json(self._transport.json("POST", f"{_path('keys', id)}/rotate", params=params))


class Projects:
    """The projects of the service, for its operators; of one's own, what it used.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, :class:`~adderclient.AuthenticationError` where the key may not do it, and :class:`~adderclient.ApiError`
    where the server refuses for another reason.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int | None = None, after: str | None = None) -> Page[Project]:
        """Asks for one page of the projects, newest first.

        Args:
            limit: projects on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.

        Returns:
            The page.

        Raises:
            InvalidRequestError: the cursor is none.
        """
        params = given(limit=limit, after=after)
        return Page.from_json(self._transport.json("GET", "/v1/projects", params=params), Project.from_json)

    def get(self, project: str) -> Project:
        """Asks for one project.

        Args:
            project: its id or name.

        Returns:
            The project.

        Raises:
            NotFoundError: there is no such project.
        """
        return Project.from_json(self._transport.json("GET", _path("projects", project)))

    def make(self, name: str, limits: Mapping[str, int | None] | None = None) -> Project:
        """Makes a project.

        Args:
            name: lower-case letters, digits and ``-``.
            limits: by their names, such as ``{"max_running_jobs": 2}``; None, and what is not named: no limit.

        Returns:
            The project.

        Raises:
            ConflictError: another project has that name.
            InvalidRequestError: the name or a limit is none.
        """
        body = {"name": name, "limits": dict(limits or {})}
        return Project.from_json(self._transport.json("POST", "/v1/projects", json=body))

    def change(
        self, project: str, *, name: str | None = None, limits: Mapping[str, int | None] | None = None
    ) -> Project:
        """Changes a project; limits hold from the next request on.

        Args:
            project: its id or name.
            name: the new name; None: it stays.
            limits: those to set, None takes one away; those that are not named stay.

        Returns:
            The changed project.

        Raises:
            NotFoundError: there is no such project.
            ConflictError: another project has that name.
            InvalidRequestError: the name or a limit is none.
        """
        body = {**({} if name is None else {"name": name}), **({} if limits is None else {"limits": dict(limits)})}
        return Project.from_json(self._transport.json("PATCH", _path("projects", project), json=body))

    def delete(self, project: str) -> None:
        """Deletes a project that has no objects any more, with its keys.

        Args:
            project: its id or name.

        Raises:
            NotFoundError: there is no such project.
            ConflictError: it has objects, or is the project ``default``.
        """
        self._transport.request("DELETE", _path("projects", project), repeatable=True)

    def usage(self, project: str, *, first: str | None = None, last: str | None = None) -> ProjectUsage:
        """Asks what a project used.

        Args:
            project: its id or name.
            first: the first day (UTC), such as ``2026-01-01``; None: 30 days before the last one.
            last: the last day; None: today.

        Returns:
            Device seconds by day and kind of device, jobs by status, and stored bytes.

        Raises:
            NotFoundError: there is no such project, or it is not one's own.
            InvalidRequestError: a day is none, or the days are too many.
        """
        params = [*given(**{"from": first}), *given(to=last)]
        return ProjectUsage.from_json(self._transport.json("GET", f"{_path('projects', project)}/usage", params=params))


def me(transport: Transport, project: str | None) -> Me:
    """Who asks."""
    return Me.from_json(transport.json("GET", "/v1/me", params=given(project=project)))


def audit(
    transport: Transport, object_id: str | None, limit: int | None, after: str | None, project: str | None
) -> Page[AuditEntry]:
    """A page of what was done."""
    params = given(object=object_id, limit=limit, after=after, project=project)
    return Page.from_json(transport.json("GET", "/v1/audit", params=params), AuditEntry.from_json)


def _path(collection: str, id: str) -> str:
    return f"/v1/{collection}/{segment(id)}"
