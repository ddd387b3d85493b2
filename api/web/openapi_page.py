"""The page `/docs`: the OpenAPI document as HTML, without scripts and without other hosts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from api.http.problems import KINDS
from api.openapi import METHODS


def title_of(document: dict[str, Any]) -> str:
    """The heading of the page."""
    return f"{document['info']['title']} {document['info']['version']}"


def contents_of(document: dict[str, Any]) -> list[tuple[str, str]]:
    """The sections of the page: the id and the title of each."""
    tags = [(tag["name"], tag["name"].capitalize()) for tag in document["tags"]]
    return [*tags, ("problems", "Problems"), ("schemas", "Schemas")]


def render(document: dict[str, Any]) -> Markup:
    """The text of the page for an OpenAPI document, everything in it escaped."""
    parts = [
        f"<p class='about'>{escape(document['info']['description'])}</p>",
        '<p>The same for machines: <a href="/openapi.json">/openapi.json</a>.</p>',
    ]
    for tag in document["tags"]:
        parts.append(f"<h2 id='{escape(tag['name'])}'>{escape(tag['name'].capitalize())}</h2>")
        parts.append(f"<p>{escape(tag['description'])}</p>")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if method in METHODS and tag["name"] in operation.get("tags", []):
                    parts.append(_operation(method, path, operation))
    parts += [_problems(), "<h2 id='schemas'>Schemas</h2>"]
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return Markup("\n".join(parts))


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<details id='{escape(operation['operationId'])}'><summary><code><span class='method'>{method.upper()}</span>"
        f" {escape(path)}</code> {escape(operation.get('summary', ''))}</summary>",
        *(f"<p>{escape(part)}</p>" for part in operation.get("description", "").split("\n\n")),
    ]
    if parameters := operation.get("parameters"):
        rows = [
            (
                f"<code>{escape(p['name'])}</code>",
                escape(p["in"] + (", required" if p.get("required") else "")),
                _type(p.get("schema", {})),
                escape(p.get("description", "")),
            )
            for p in parameters
        ]
        parts.append(_table(("Parameter", "In", "Type", "Meaning"), rows))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body <code>{escape(media_type)}</code>: {_type(content.get('schema', {}))}</p>")
        parts += [_json(example["value"]) for example in content.get("examples", {}).values()]
    parts.append(_responses(operation["responses"]))
    return "\n".join([*parts, "</details>"])


def _responses(responses: dict[str, Any]) -> str:
    rows = []
    for status, response in responses.items():
        kinds = [
            f"<code>{escape(media_type)}</code> {_type(content.get('schema', {}))}"
            for media_type, content in response.get("content", {}).items()
        ]
        codes = [
            f"<a href='#{escape(code)}'>{escape(code)}</a>"
            for content in response.get("content", {}).values()
            for code in content.get("examples", {})
            if code in KINDS
        ]
        rows.append((status, escape(response.get("description", "")), "<br>".join(kinds) + " " + ", ".join(codes)))
    return _table(("Status", "When", "What"), rows)


def _problems() -> str:
    rows = [
        (f"<code id='{code}'>{code}</code>", str(kind.status), escape(kind.title), escape(kind.remedy))
        for code, kind in KINDS.items()
    ]
    return "<h2 id='problems'>Problems</h2>" + _table(("Code", "Status", "Title", "What to do"), rows)


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", []))
    rows = [
        (
            f"<code>{escape(field)}</code>",
            _type(part) + (", required" if field in required else ""),
            _json(part["default"], tag="code") if "default" in part else "",
            escape(part.get("description", "")),
        )
        for field, part in schema.get("properties", {}).items()
    ]
    about = f"<p>{escape(schema.get('description', ''))}</p>"
    values = _json(schema["enum"], tag="code") if "enum" in schema else ""
    table = _table(("Field", "Type", "Default", "Meaning"), rows) if rows else values
    return f"<details id='schema-{escape(name)}'><summary><code>{escape(name)}</code></summary>{about}{table}</details>"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#schema-{name}'>{name}</a>"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(part) for part in schema[key])
    if "enum" in schema or "const" in schema:
        return escape(", ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")])))
    kind = escape(str(schema.get("type", "any")))
    return f"{kind} of {_type(schema['items'])}" if schema.get("items") else kind


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = "".join(f"<th scope='col'>{title}</th>" for title in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    box = f"<div class='scroll' tabindex='0' role='group' aria-label='{head[0]}'>"
    return f"{box}<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"


def _json(value: object, tag: str = "pre") -> str:
    open_ = " tabindex='0' aria-label='JSON'" if tag == "pre" else ""
    return f"<{tag}{open_}>{escape(json.dumps(value, indent=2 if tag == 'pre' else None))}</{tag}>"
