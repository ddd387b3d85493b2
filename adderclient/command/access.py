"""``adder login|logout|me|keys|projects|usage|audit``: who one is, and who else may."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from adderclient import profiles
from adderclient.client import DEFAULT_URL, Client
from adderclient.command.app import After, AsJson, Limit, Url, connect
from adderclient.command.errors import UsageError
from adderclient.command.formats import ago
from adderclient.command.output import fields, note, note_more, print_json, print_list, table

Project = Annotated[str | None, typer.Option("--project", help="In this project (operators).")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Send the key over plain http to another machine.")]
Json = Mapping[str, Any]

keys = typer.Typer(name="keys", help="The keys of your project.", no_args_is_help=True)
projects = typer.Typer(name="projects", help="Projects and their limits (operators).", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (login, logout, me, usage, audit):
        app.command()(command)
    keys.command(name="list")(list_keys)
    keys.command(name="make")(make_key)
    keys.command(name="revoke")(revoke_key)
    keys.command(name="rotate")(rotate_key)
    projects.command(name="list")(list_projects)
    projects.command(name="make")(make_project)
    projects.command(name="limit")(limit_project)
    projects.command(name="delete")(delete_project)
    app.add_typer(keys)
    app.add_typer(projects)


def _call(client: Client, method: str, path: str, project: str | None = None, **options: Any) -> Json:
    params = [("project", project)] if project else []
    return client._transport.json(method, path, params=[*params, *options.pop("params", [])], **options)


def _page(url: str | None, path: str, limit: int, after: str | None, project: str | None) -> tuple[list[Json], Any]:
    params = [("limit", str(min(limit, 100))), *([("after", after)] if after else [])]
    with connect(url) as client:
        answer = _call(client, "GET", path, project, params=params)
    return list(answer["data"]), answer["next"]


def login(url: Url = None, insecure: Insecure = False) -> None:
    """Store a key for a server. It is asked for, or read from stdin where that is no terminal."""
    if insecure:
        os.environ[profiles.ANYWAY] = "1"
    address = url or os.environ.get("ADDER_URL") or DEFAULT_URL
    asked = typer.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    key = asked.strip()
    if not key:
        raise UsageError("no key was given: an admin of your project makes one (adder keys make NAME)")
    profiles.require_private(address, key)
    with Client(address, key) as client:
        who = _call(client, "GET", "/v1/me")
    path = profiles.store(address, key)
    note(f"{who['role']} of {who['project']} at {address}; the key is in {path}")


def logout(url: Url = None) -> None:
    """Forget the key of a server. The key itself stays valid until it is revoked."""
    address = url or profiles.last_url() or DEFAULT_URL
    note(f"the key of {address} is forgotten" if profiles.forget(address) else f"no key of {address} is stored")


def me(url: Url = None, project: Project = None, as_json: AsJson = False) -> None:
    """Show who you are, what your project may use and what it uses."""
    with connect(url) as client:
        who = _call(client, "GET", "/v1/me", project)
    if as_json:
        print_json(who)
        return
    limits = {name: value for name, value in who["limits"].items() if value is not None}
    shown = [("key", who["name"]), ("project", who["project"]), ("role", who["role"])]
    fields([*shown, ("limits", limits), ("usage", who["usage"])])


def list_keys(
    url: Url = None, limit: Limit = 20, after: After = None, project: Project = None, as_json: AsJson = False
) -> None:
    """List the keys of your project, newest first."""
    found, more = _page(url, "/v1/keys", limit, after, project)
    if as_json:
        print_list(found, more is not None, more)
        return
    columns = ["ID", "NAME", "ROLE", "MADE", "LAST USED", "ENDS"]
    table(columns, ([key["id"], key["name"], key["role"], *_times(key)] for key in found))
    note_more(limit, more)


def _ago(moment: str | None) -> str:
    return ago(None if moment is None else datetime.fromisoformat(moment))


def _times(key: Json) -> list[str]:
    ends = key["revoked_at"] or key["expires_at"]
    return [_ago(key["created_at"]), _ago(key["last_used_at"]), ends or ""]


def make_key(
    name: Annotated[str, typer.Argument(help="What people call it: whose it is, or what for.")],
    role: Annotated[str, typer.Option(help="viewer, member, admin or operator; at most your own.")] = "member",
    expires: Annotated[str | None, typer.Option(help="When it ends, such as 2027-01-31T00:00:00Z.")] = None,
    url: Url = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed this once, alone on stdout."""
    with connect(url) as client:
        body = {"name": name, "role": role, "expires_at": expires}
        made = _call(client, "POST", "/v1/keys", project, json=body)
    _show_key(made, as_json)


def _show_key(made: Json, as_json: bool) -> None:
    if as_json:
        print_json(made)
    else:
        note(f"{made['id']}: a {made['role']}'s key, shown this once")
        sys.stdout.write(f"{made['key']}\n")


def revoke_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, key_…")],
    url: Url = None,
    project: Project = None,
) -> None:
    """Revoke a key: within two seconds it opens nothing any more."""
    with connect(url) as client:
        params = [("project", project)] if project else []
        client._transport.request("DELETE", f"/v1/keys/{quote(key, safe='')}", params=params, repeatable=True)
    note(f"{key} is revoked")


def rotate_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, key_…")],
    keep: Annotated[int, typer.Option(min=0, help="Seconds for which the old one stays valid.")] = 86_400,
    url: Url = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Make a key in the place of another one, which stays valid for a day."""
    with connect(url) as client:
        path = f"/v1/keys/{quote(key, safe='')}/rotate"
        made = _call(client, "POST", path, project, params=[("keep_seconds", str(keep))])
    _show_key(made, as_json)


def list_projects(url: Url = None, limit: Limit = 20, after: After = None, as_json: AsJson = False) -> None:
    """List all projects with their limits."""
    found, more = _page(url, "/v1/projects", limit, after, None)
    if as_json:
        print_list(found, more is not None, more)
        return
    table(["ID", "NAME", "LIMITS"], ([one["id"], one["name"], _limits(one)] for one in found))
    note_more(limit, more)


def _limits(project: Json) -> str:
    return ", ".join(f"{name}={value}" for name, value in project["limits"].items() if value is not None)


Bounds = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=VALUE", help="Such as max_running_jobs=2; empty for none; repeatable."),
]


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
        made = _call(client, "POST", "/v1/projects", json={"name": name, "limits": _bounds(limit)})
    _show_project(made, as_json)


def _show_project(project: Json, as_json: bool) -> None:
    if as_json:
        print_json(project)
    else:
        note(f"{project['id']} {project['name']}: {_limits(project) or 'no limits'}")


def limit_project(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="Its id or name.")],
    limit: Bounds = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Set limits of a project; those that are not named stay."""
    with connect(url) as client:
        body = {"limits": _bounds(limit)}
        changed = _call(client, "PATCH", f"/v1/projects/{quote(project, safe='')}", json=body)
    _show_project(changed, as_json)


def delete_project(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="Its id or name.")], url: Url = None
) -> None:
    """Delete a project that has no objects any more, with its keys."""
    with connect(url) as client:
        client._transport.request("DELETE", f"/v1/projects/{quote(project, safe='')}", repeatable=True)
    note(f"{project} is deleted")


def usage(
    from_: Annotated[str | None, typer.Option("--from", help="The first day, such as 2026-01-01 (UTC).")] = None,
    to: Annotated[str | None, typer.Option(help="The last day; today.")] = None,
    url: Url = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show the device seconds of a project by day, its jobs and its stored bytes."""
    with connect(url) as client:
        which = project or _call(client, "GET", "/v1/me")["project_id"]
        params = [(name, day) for name, day in (("from", from_), ("to", to)) if day]
        found = _call(client, "GET", f"/v1/projects/{quote(which, safe='')}/usage", params=params)
    if as_json:
        print_json(found)
        return
    table(["DAY", "DEVICE", "SECONDS>"], ([d["day"], d["device"], f"{d['device_seconds']:.1f}"] for d in found["days"]))
    fields([("device seconds", f"{found['device_seconds']:.1f}"), ("stored bytes", found["stored_bytes"])])


def audit(
    url: Url = None,
    limit: Limit = 20,
    after: After = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show who did what in a project, newest first."""
    found, more = _page(url, "/v1/audit", limit, after, project)
    if as_json:
        print_list(found, more is not None, more)
        return
    columns = ["WHEN", "WHO", "WHAT", "OBJECT", "FROM"]
    table(columns, ([_ago(e["time"]), e["key_name"], e["action"], e["object_id"], e["address"]] for e in found))
    note_more(limit, more)
