"""Uploading a dataset: the form is read while it arrives, then a version and the job that validates it are created."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from addercore import config
from addercore.config.uploads import ID_PREFIX, NAME, SNIFF_BYTES, sniff, unknown_format
from api.access.acting import Acting
from api.datasets.schemas import Dataset
from api.http.bodies import parse_json
from api.http.problems import Problem, bad_fields, invalid
from jobs.access import audit, limits
from jobs.documents import require_readable
from jobs.ids import new_id
from jobs.repository import datasets, lifecycle
from jobs.spec import IngestSpec
from jobs.store import Upload

MAX_SMALL = 4096
"""Bytes that the parts `name` and `options` may have."""


@dataclass
class Form:
    """The parts of the form as they arrive. A bad name or bad options are refused before the file is read."""

    upload: Upload
    limit: int
    """Bytes that the file may have."""
    _name: bytearray = field(default_factory=bytearray)
    _options: bytearray = field(default_factory=bytearray)
    _head: bytearray = field(default_factory=bytearray)

    def take_name(self, piece: bytes) -> None:
        """Takes a piece of the part `name`."""
        self._name += piece
        _bounded("name", self._name)

    def take_options(self, piece: bytes) -> None:
        """Takes a piece of the part `options`."""
        self._options += piece
        _bounded("options", self._options)

    def take_file(self, piece: bytes) -> None:
        """Takes a piece of the part `file`. Raises Problem (413) when the file is too long."""
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
            )

    def name(self) -> str:
        """The dataset's name. Raises Problem (422) when it is malformed or taken."""
        text = self._name.decode("utf-8", "replace")
        if not NAME.fullmatch(text):
            raise invalid([("/name", "must be 1 to 64 letters, digits, - _ or ., and begin with a letter or digit")])
        if text in config.DATASETS or text.startswith(ID_PREFIX):
            raise invalid([("/name", f"{text} is the name of a published dataset, or an id; choose another")])
        return text

    def options(self) -> config.IntakeOptions:
        """The options of the upload. Raises Problem (422) with each bad field."""
        document = parse_json(bytes(self._options)) if self._options else {}
        try:
            return config.IntakeOptions.model_validate(document)
        except ValidationError as error:
            raise invalid((f"/options{where}", why) for where, why in bad_fields(error, config.IntakeOptions)) from None

    def format(self) -> str:
        """The file's format, detected by its content. Raises Problem (422) when it is none that is known."""
        found = sniff(bytes(self._head))
        if found is None:
            raise invalid([("/file", unknown_format(bytes(self._head)))])
        return found


def _bounded(part: str, value: bytearray) -> None:
    if len(value) > MAX_SMALL:
        raise invalid([(f"/{part}", f"must be at most {MAX_SMALL} bytes")])


def accept(service: Acting, form: Form) -> tuple[Dataset, bool]:
    """Stores a complete upload. Returns its dataset, and whether it is new; a new one has a job that validates it."""
    name, options, format_ = form.name(), form.options(), form.format()
    chosen: dict[str, Any] = options.model_dump(mode="json")
    stored = form.upload.commit()
    # If the transaction fails, the file stays in the store without a row. The sweep removes it later.
    with service.database.write() as session:
        datasets.lock_name(session, name)
        found = datasets.same_upload(session, name, stored.sha256, chosen)
        if found is not None:
            audit.nothing_done(session)
            require_readable(found)
            return Dataset.of(found), False
        limits.require_storage(session, limits.enter(session), stored.bytes)
        id_ = new_id("ds")
        audit.about(session, id_, name)
        spec = IngestSpec(kind="ingest", dataset_id=id_, options=options, labels={"dataset": name})
        job = lifecycle.submit(session, spec, rules=service.rules).job
        row = datasets.add(session, id_, name, format_, stored, chosen, job.id)
        session.refresh(row)
        made = Dataset.of(row)
    form.upload.ensure(stored)
    service.relay.poke()
    return made, True
