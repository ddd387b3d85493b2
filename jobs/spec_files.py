"""`python -m jobs.spec_files`: writes what is generated from the specs' fields.

- `adderclient/specs.json`: the JSON schemas of the jobs that can be submitted. The client ships it and imports nothing
  of the server.
- `docs/specs.md`: every field of every kind with its values, default and meaning, for people.

A test fails where a file is not what this would write.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from addercore.config import SERVICE_KEYS, IntakeOptions
from addercore.config.schema import Schema, Walk, fields, schema_of, values
from addercore.config.synonyms import FIELD_OF
from jobs.spec import KINDS, SUBMITTED, CommonSpec

ROOT = Path(__file__).parent.parent

PAGE_HEAD = """\
# Specs: every field

The body of `POST /v1/jobs`, as JSON; `adder submit` takes the same as YAML. Fields that are not listed are refused.
A stored job has every default filled in. This page is made by `python -m jobs.spec_files` from the definitions in
`addercore/config` and `jobs/spec.py`.
"""
DATASET_NOTE = """\
`model.arch` and `dataset.name` are required. The defaults are those of the paper's MNIST experiments; the meaning says
where the recipe of another dataset differs. `adder submit --validate-only` shows a spec with all of its defaults.
"""
COMMON_HEAD = "Fields of every kind, for the service alone."
UPLOAD_HEAD = "The part `options` of `POST /v1/datasets` ([datasets-upload.md](datasets-upload.md))."


def client_schema() -> dict[str, Any]:
    """The schemas of all submitted kinds with shared definitions; `kinds` names the definition of each."""
    models = {kind: KINDS[kind] for kind in SUBMITTED}
    _, found = models_json_schema([(model, "validation") for model in models.values()], ref_template="#/$defs/{model}")
    return {
        "$comment": "made by python -m jobs.spec_files",
        "synonyms": FIELD_OF,
        "kinds": {kind: f"#/$defs/{model.__name__}" for kind, model in models.items()},
        "$defs": _untitled(found["$defs"]),
    }


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes of the fields' names."""
    if isinstance(schema, dict):
        return {key: _untitled(value) for key, value in schema.items() if not _is_title(key, value)}
    return [_untitled(one) for one in schema] if isinstance(schema, list) else schema


def _is_title(key: str, value: Any) -> bool:
    return key == "title" and isinstance(value, str)


def page() -> str:
    """The text of `docs/specs.md`."""
    parts = [PAGE_HEAD]
    for kind in SUBMITTED:
        schema = schema_of(KINDS[kind])
        note = f"\n{DATASET_NOTE}" if kind == "train" else ""
        parts.append(f"## `{kind}`\n\n{schema['description']}\n{note}\n{_table(schema, SERVICE_KEYS)}")
    parts.append(f"## Every kind\n\n{COMMON_HEAD}\n\n{_table(schema_of(CommonSpec))}")
    parts.append(f"## Uploads\n\n{UPLOAD_HEAD}\n\n{_table(schema_of(IntakeOptions))}")
    return "\n".join(parts)


def _table(schema: Schema, without: frozenset[str] = frozenset()) -> str:
    lines = ["| field | values | default | meaning |", "|---|---|---|---|", *_lines(schema, without)]
    return "\n".join(lines) + "\n"


def _lines(schema: Schema, without: frozenset[str]) -> Iterator[str]:
    walk = Walk(schema)
    defaults: dict[str, Any] = {}  # of a section, which win over those of its own fields
    for name, field in fields(schema).items():
        if name.split(".")[0] in without:
            continue
        shape = walk.resolved(field)
        nullable = any(one.get("type") == "null" for one in field.get("anyOf", ()))
        section = "properties" in shape
        takes = ("a section" if section else values(shape)) + (" or null" if nullable else "")
        default = defaults.get(name, field.get("default", ...))
        if isinstance(default, dict):
            defaults |= {f"{name}.{key}": value for key, value in default.items()}
        stated = "" if section and default is not None else f"`{json.dumps(default, default=str)}`"
        shown = "required" if default is ... else stated
        meaning = " ".join(str(field.get("description") or shape.get("description", "")).split())
        yield f"| `{name}` | {takes} | {shown} | {meaning} |".replace("|  |", "| |")


def contents() -> dict[Path, str]:
    """The text of each generated file."""
    return {
        ROOT / "adderclient" / "specs.json": json.dumps(client_schema(), indent=1, ensure_ascii=False) + "\n",
        ROOT / "docs" / "specs.md": page(),
    }


def main() -> None:
    """Writes all files."""
    argparse.ArgumentParser(prog="python -m jobs.spec_files", description=__doc__).parse_args()
    for path, text in contents().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
