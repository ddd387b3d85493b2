"""A dataset's upload: its form, taken while it arrives, and the version and job that come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from addercore import config
from addercore.config.uploads import ID_PREFIX, NAME, SNIFF_BYTES, sniff, unknown_format
from api.datasets.schemas import Dataset
from api.http.bodies import parse_json
from api.http.problems import Problem, field_errors, invalid
from api.service import Service
from jobs.ids import new_id
from jobs.repository import datasets, lifecycle
from jobs.scheduling import Rules
from jobs.spec import IngestOptions, IngestSpec
from jobs.store import Upload

MAX_SMALL = 4096
"""Bytes of the parts `name` and `options`."""


@dataclass
class Form:
    """The parts as they come. What can be refused before the file is through, is."""

    upload: Upload
    limit: int
    """Bytes of the file."""
    _name: bytearray = field(default_factory=bytearray)
    _options: bytearray = field(default_factory=bytearray)
    _head: bytearray = field(default_factory=bytearray)

    def take_name(self, piece: bytes) -> None:
        self._name += piece
        _bounded("name", self._name)

    def take_options(self, piece: bytes) -> None:
        self._options += piece
        _bounded("options", self._options)

    def take_file(self, piece: bytes) -> None:
        if not self.upload.bytes:
            if self._name:
                self.name()
            if self._options:
                self.options()
        if len(self._head) < SNIFF_BYTES:
            self._head += piece[: SNIFF_BYTES - len(self._head)]
        self.upload.write(piece)
        if self.upload.bytes > self.limit:
            raise Problem(
                "body_too_large",
                f"The file is longer than {self.limit} bytes (ADDER_MAX_DATASET_BYTES).",
                headers={"Connection": "close"},
            )

    def name(self) -> str:
        text = self._name.decode("utf-8", "replace")
        if not NAME.fullmatch(text):
            raise invalid([("/name", "must be 1 to 64 letters, digits, - _ or ., and begin with a letter or digit")])
        if text in config.DATASETS or text.startswith(ID_PREFIX):
            raise invalid([("/name", f"{text} is the name of a published dataset, or an id; choose another")])
        return text

    def options(self) -> IngestOptions:
        document = parse_json(bytes(self._options)) if self._options else {}
        try:
            return IngestOptions.model_validate(document)
        except ValidationError as error:
            raise invalid((f"/options{where}", why) for where, why in field_errors(error)) from None

    def format(self) -> str:
        found = sniff(bytes(self._head))
        if found is None:
            raise invalid([("/file", unknown_format(bytes(self._head)))])
        return found


def _bounded(part: str, value: bytearray) -> None:
    if len(value) > MAX_SMALL:
        raise invalid([(f"/{part}", f"must be at most {MAX_SMALL} bytes")])


def accept(service: Service, form: Form) -> tuple[Dataset, bool]:
    """The dataset of an upload that has come through, and whether it is new here: then a job validates it."""
    name, options, format_ = form.name(), form.options(), form.format()
    chosen: dict[str, Any] = options.model_dump(mode="json")
    stored = form.upload.commit()
    # What a transaction that fails leaves in the store, the sweep takes once it is old enough.
    with service.database.write() as session:
        datasets.lock_name(session, name)
        found = datasets.same_upload(session, name, stored.sha256, chosen)
        if found is not None:
            return Dataset.of(found), False
        id_ = new_id("ds")
        spec = IngestSpec(kind="ingest", dataset_id=id_, options=options, labels={"dataset": name})
        job = lifecycle.submit(session, spec, rules=Rules.of(service.settings)).job
        row = datasets.add(session, id_, name, format_, stored, chosen, job.id)
        session.refresh(row)
        made = Dataset.of(row)
    form.upload.ensure(stored)
    service.relay.poke()
    return made, True
