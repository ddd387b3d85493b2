"""What an export is made of, and the library that a format needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from adderclient.errors import AdderClientError
from adderclient.metrics import MetricTable
from adderclient.records import Job, Model


@dataclass(frozen=True)
class Source:
    """A job or a model with what an export says of it."""

    url: str
    """The server's address."""
    job: Job | None = None
    """None for an imported model, and where the job is deleted."""
    metrics: MetricTable | None = None
    """All metrics of the job, where the format has them."""
    folder: Path | None = None
    """Where the files of the job lie, or those of the model."""
    model: Model | None = None
    validation_images: int | None = None
    """Images that validated; None where that is not known."""
    license: str = "unknown"
    """As the Hugging Face Hub names licences, such as ``apache-2.0``."""

    def the_job(self) -> Job:
        """The job. Raises AdderClientError where there is none."""
        if self.job is None:
            raise AdderClientError("this format is of jobs")
        return self.job

    def the_model(self) -> Model:
        """The model. Raises AdderClientError where there is none."""
        if self.model is None:
            raise AdderClientError("this format is of models")
        return self.model


def require(module: str, package: str, extra: str) -> ModuleType:
    """Imports a library that an extra brings.

    Raises:
        AdderClientError: it is not installed; the message has the line to run.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise AdderClientError(
            f"this export is written by {package}, which is not installed here: pip install 'adderworks[{extra}]'"
        ) from None
