"""``adder login|logout|me|keys|projects|usage|audit``: who one is, and who else may."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from adderclient import profiles
from adderclient.client import Client
from adderclient.command.app import AsJson, Url, connect
from adderclient.command.columns import Column
from adderclient.command.errors import UsageError
from adderclient.command.groups import group
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.output import fields, note, print_json, table
from adderclient.command.terminal import say
from adderclient.formats import ago, size
from adderclient.records import AuditEntry, Key, NewKey, Project

InProject = Annotated[
    str | None, typer.Option("--project", metavar="PROJECT", help="In this project, by name or id (operators).")
]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="A key's id, key_….")]
ProjectRef = Annotated[str, typer.Argument(metavar="PROJECT", help="A project's name or id.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Send the key over plain http to another machine.")]
Bounds = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=VALUE", help="Such as max_running_jobs=2; empty for none; repeatable."),
]

KEYS: tuple[Column[Key], ...] = (
    Column("id", lambda one: one.id),
    Column("name", lambda one: one.name, rank=1, cut=True),
    Column("role", lambda one: one.role, rank=2),
    Column("made", lambda one: one.created_at, lambda one: ago(one.created_at), rank=5),
    Column("last_used", lambda one: one.last_used_at, lambda one: ago(one.last_used_at), rank=4),
    Column("ends", lambda one: one.revoked_at or one.expires_at, rank=3),
    Column("made_by", lambda one: one.created_by, extra=True),
    Column("replaced_by", lambda one: one.replaced_by, extra=True),
)
PROJECTS: tuple[Column[Project], ...] = (
    Column("id", lambda one: one.id),
    Column("name", lambda one: one.name, rank=1),
    Column("limits", lambda one: _limits(one), rank=2, cut=True),
    Column("made", lambda one: one.created_at, lambda one: ago(one.created_at), rank=3),
)
AUDIT: tuple[Column[AuditEntry], ...] = (
    Column("when", lambda one: one.time, lambda one: ago(one.time)),
    Column("who", lambda one: one.key_name, rank=2, cut=True),
    Column("what", lambda one: one.action, rank=1),
    Column("object", lambda one: one.object_id, rank=3),
    Column("from", lambda one: one.address, rank=4),
    Column("key", lambda one: one.key_id, extra=True),
    Column("request", lambda one: one.request_id, extra=True),
    Column("detail", lambda one: one.detail, extra=True, cut=True),
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (login, logout, me, usage, audit):
        app.command()(command)
    app.add_typer(keys)
    app.add_typer(projects)


def login(url: Url = None, insecure: Insecure = False) -> None:
    """Store a key for a server. It is asked for, or read from stdin where that is no terminal."""
    if insecure:
        os.environ[profiles.ANYWAY] = "1"
    address = url or profiles.own_url()
    asked = typer.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    key = asked.strip()
    if not key:
        raise UsageError("no key was given: an admin of your project makes one (adder keys make NAME)")
    with Client(address, key) as client:
        who = client.me()
    path = profiles.store(address, key)
    note(f"{who.role} of {who.project} at {address}; the key is in {path}")


def logout(url: Url = None) -> None:
    """Forget the key of a server. The key itself stays valid until it is revoked."""
    address = url or profiles.own_url()
    note(f"the key of {address} is forgotten" if profiles.forget(address) else f"no key of {address} is stored")


def me(url: Url = None, project: InProject = None, as_json: AsJson = False) -> None:
    """Show who you are, what your project may use and what it uses."""
    with connect(url) as client:
        who = client.me(project=project)
    if as_json:
        print_json(who.raw)
        return
    limits = {name: value for name, value in who.limits.items() if value is not None}
    shown = [("key", who.name), ("project", who.project), ("role", who.role)]
    fields([*shown, ("limits", limits), ("usage", who.usage)])


@listing(limit=20)
def list_keys(client: Client, request: Request, project: InProject = None) -> Listed[Key]:
    """List the keys of your project, newest first."""
    return Listed(request.read(lambda size, at: client.keys.list(limit=size, after=at, project=project)), KEYS)


def make_key(
    name: Annotated[str, typer.Argument(help="What people call it: whose it is, or what for.")],
    role: Annotated[str, typer.Option(help="viewer, member, admin or operator; at most your own.")] = "member",
    expires: Annotated[str | None, typer.Option(help="When it ends, such as 2027-01-31T00:00:00Z.")] = None,
    url: Url = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed this once, alone on stdout."""
    with connect(url) as client:
        made = client.keys.make(name, role=role, expires_at=expires, project=project)
    _show_key(made, as_json)


def _show_key(made: NewKey, as_json: bool) -> None:
    if as_json:
        print_json(made.raw)
    else:
        note(f"{made.id}: a key of the role {made.role}, shown this once")
        say(made.key)


def revoke_key(key: KeyId, url: Url = None, project: InProject = None) -> None:
    """Revoke a key: within two seconds it opens nothing any more."""
    with connect(url) as client:
        client.keys.revoke(key, project=project)
    note(f"{key} is revoked")


def rotate_key(
    key: KeyId,
    keep: Annotated[int, typer.Option(min=0, help="Seconds for which the old one stays valid.")] = 86_400,
    url: Url = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Make a key in the place of another one, which stays valid for a day."""
    with connect(url) as client:
        made = client.keys.rotate(key, keep_seconds=keep, project=project)
    _show_key(made, as_json)


@listing(limit=20)
def list_projects(client: Client, request: Request) -> Listed[Project]:
    """List all projects with their limits."""
    return Listed(request.read(lambda size, at: client.projects.list(limit=size, after=at)), PROJECTS)


def _limits(project: Project) -> str:
    return ", ".join(f"{name}={value}" for name, value in project.limits.items() if value is not None)


def _bounds(given: list[str] | None) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        try:
            found[name] = int(value) if value else None
        except ValueError:
            raise UsageError(f"--limit {text}: {value!r} is no whole number") from None
        if not sign:
            raise UsageError(f"--limit {text}: give NAME=VALUE, such as max_running_jobs=2")
    return found


def make_project(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and -.")],
    limit: Bounds = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a project."""
    with connect(url) as client:
        made = client.projects.make(name, _bounds(limit))
    _show_project(made, as_json)


def _show_project(project: Project, as_json: bool) -> None:
    if as_json:
        print_json(project.raw)
    else:
        note(f"{project.id} {project.name}: {_limits(project) or 'no limits'}")


def limit_project(project: ProjectRef, limit: Bounds = None, url: Url = None, as_json: AsJson = False) -> None:
    """Set limits of a project; those that are not named stay."""
    with connect(url) as client:
        changed = client.projects.change(project, limits=_bounds(limit))
    _show_project(changed, as_json)


def delete_project(project: ProjectRef, url: Url = None) -> None:
    """Delete a project that has no objects any more, with its keys."""
    with connect(url) as client:
        client.projects.delete(project)
    note(f"{project} is deleted")


def usage(
    from_: Annotated[str | None, typer.Option("--from", help="The first day, such as 2026-01-01 (UTC).")] = None,
    to: Annotated[str | None, typer.Option(help="The last day; today.")] = None,
    url: Url = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Show the device seconds of a project by day, its jobs and its stored bytes."""
    with connect(url) as client:
        found = client.projects.usage(project or client.me().project_id, first=from_, last=to)
    if as_json:
        print_json(found.raw)
        return
    table(["DAY", "DEVICE", "SECONDS>"], [[one.day, one.device, f"{one.device_seconds:.1f}"] for one in found.days])
    total = ("device seconds", f"{found.device_seconds:.1f}")
    fields([total, ("jobs", found.jobs), ("stored", size(found.stored_bytes))])


@listing(limit=20, page="/audit")
def audit(client: Client, request: Request, project: InProject = None) -> Listed[AuditEntry]:
    """Show who did what in a project, newest first."""
    return Listed(request.read(lambda size, at: client.audit(limit=size, after=at, project=project)), AUDIT)


keys = group(
    "keys",
    "The keys of your project (admins).",
    list_keys,
    {"make": make_key, "revoke": revoke_key, "rotate": rotate_key},
)
projects = group(
    "projects",
    "Projects and their limits (operators).",
    list_projects,
    {"make": make_project, "limit": limit_project, "delete": delete_project},
)
