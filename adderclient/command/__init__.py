"""The ``adder`` command: ``main`` is its entry point."""

from __future__ import annotations

import sys

from adderclient.command import backup, counts, datasets, follow, jobs, models, recipes, service, sweeps, workers
from adderclient.command.app import app
from adderclient.command.errors import exit_code_for
from adderclient.command.output import errors_console
from adderclient.errors import AdderClientError
from adderclient.up.folder import UpError

__all__ = ["app", "main"]

for part in (service, jobs, follow, models, datasets, recipes, sweeps, workers, counts, backup):
    part.register(app)


def main() -> None:
    """Runs the command; a user's mistake ends in a sentence and an exit code, never in a traceback."""
    try:
        app()
    except (AdderClientError, UpError) as error:
        errors_console().print(f"adder: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(exit_code_for(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        errors_console().print(f"adder: {what}{error.strerror or error}", markup=False, soft_wrap=True)
        sys.exit(2)
