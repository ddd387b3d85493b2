"""`python -m benchmarks.records NAME LABEL…`: rows of the jobs of a service that succeeded and have these labels.

They go to results/NAME.jsonl, from the service's own records, oldest first; the server is that of `ADDER_URL`.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from adderclient import Client
from benchmarks.rows import RESULTS, machine


def rows_of(client: Client, labels: dict[str, str]) -> list[dict[str, Any]]:
    """What the jobs were, where they ran and what came out."""
    jobs = sorted(client.jobs.iterate(labels=labels, status="succeeded"), key=lambda job: job.id)
    return [
        {"labels": job.labels, "spec": job.spec, "result": job.result, "environment": job.raw.get("environment")}
        for job in jobs
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the file of rows")
    parser.add_argument("labels", nargs="+", metavar="LABEL", help="name:value")
    options = parser.parse_args()
    with Client() as client:
        rows = rows_of(client, dict(label.split(":", 1) for label in options.labels))
    about = {"machine": machine()["device"]}
    path = RESULTS / f"{options.name}.jsonl"
    path.write_text("".join(json.dumps(row | about, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    main()
