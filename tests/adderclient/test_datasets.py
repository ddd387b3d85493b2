"""Uploading, showing and deleting datasets, as library and command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adderclient import AdderClientError, Client
from adderclient.download import Transfer
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import SHEET, Service

CONTENT = bytes(range(256)) * 1000


def test_an_upload_is_sent_in_pieces(service: Service, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "leaves.zip"
    file.write_bytes(CONTENT)
    said: list[Transfer] = []
    made = client.datasets.upload(file, "leaves", size=(32, 48), seed=7, progress=said.append)
    assert (made.id, made.name, made.version, made.status, made.job_id) == ("ds_1", "leaves", 1, "validating", "job_1")
    received = [progress.received for progress in said]
    assert len(received) > 3
    assert received == sorted(received)
    assert (received[-1], said[-1].total) == (len(CONTENT), len(CONTENT))
    method, path, _, body = service.requests[-1]
    assert (method, path) == ("POST", "/v1/datasets")
    assert CONTENT in body
    assert b'{"size": [32, 48], "seed": 7}' in body
    assert body.index(b'name="name"') < body.index(b'name="options"') < body.index(b'name="file"')


def test_waiting_for_the_validation(client: Client) -> None:
    done = client.datasets.wait("leaves", interval=0.01)
    assert (done.status, done.problems) == ("failed", ("cat/1.png is no image.",))


def test_waiting_is_not_for_ever(service: Service, client: Client) -> None:
    service.looks = -1000
    with pytest.raises(AdderClientError, match=r"still being validated after 0\.05 s, by job_1"):
        client.datasets.wait("leaves", timeout=0.05, interval=0.01)


def test_commands(service: Service, adder: Adder, tmp_path: Path) -> None:
    (tmp_path / "leaves.zip").write_bytes(CONTENT)
    done = adder("datasets", "upload", "leaves.zip", "--name", "leaves", "--size", "32", "--channels", "1")
    assert (done.returncode, done.stdout) == (0, "ds_1\n")
    assert "leaves@1 is validating" in done.stderr
    assert "adder watch job_1" in done.stderr
    assert b'{"size": [32, 32], "channels": 1}' in service.requests[-1][3]
    choices = ["--on-bad-image", "skip", "--max-skipped", "3", "--transparent-on", "black", "--value-range", "-1..1"]
    choices += ["--image-column", "img", "--label-column", "fine_label"]
    assert adder("datasets", "upload", "leaves.zip", "--name", "leaves", *choices).returncode == 0
    assert (
        b'{"on_bad_image": "skip", "max_skipped": 3, "transparent_on": "black", "value_range": "-1..1", '
        b'"columns": {"image": "img", "label": "fine_label"}}'
    ) in service.requests[-1][3]
    assert adder("datasets", "upload", "leaves.zip", "--name", "leaves", "--size", "big").returncode == 2
    assert adder("datasets", "upload", "nothing.zip", "--name", "leaves").returncode == 2
    service.looks = 5
    shown = adder("datasets", "show", "leaves")
    assert "failed" in shown.stdout
    assert "cat/1.png is no image." in shown.stdout
    assert adder("datasets", "delete", "leaves@1").returncode == 0
    assert service.requests[-1][:2] == ("DELETE", "/v1/datasets/leaves%401")


def test_notes_and_the_contact_sheet(service: Service, client: Client, adder: Adder, tmp_path: Path) -> None:
    found = client.datasets.get("looked")
    assert (found.notes, found.preview) == (("3 images lay.",), "/v1/datasets/ds_2/preview")
    shown = adder("datasets", "show", "looked").stdout
    assert "3 images lay." in shown
    assert "adder datasets preview looked@1" in shown
    done = adder("datasets", "preview", "looked", "-o", "sheet.png")
    assert (done.returncode, done.stdout) == (0, "sheet.png\n")
    assert (tmp_path / "sheet.png").read_bytes() == SHEET


def test_the_list_stays_the_plain_command(service: Service, adder: Adder) -> None:
    assert "digits" in adder("datasets").stdout
    assert json.loads(adder("datasets", "--json").stdout)["data"][0]["name"] == "digits"
    assert json.loads(adder("datasets", "--url", service.url, "--json").stdout)["data"]
    assert json.loads(adder("datasets", "show", "digits", "--json").stdout)["name"] == "digits"
