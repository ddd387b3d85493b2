"""A model's page in a browser: an image goes in, probabilities come out."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from api.models.predict_bodies import EXAMPLE_PNG
from tests.api.dashboard import Dashboard, Visit
from tests.support.servers import wait_until

Open = Callable[..., Visit]
PNG = {"name": "seven.png", "mimeType": "image/png", "buffer": base64.b64decode(EXAMPLE_PNG)}


def test_the_likeliest_class_comes_first(visit: Open, dashboard: Dashboard) -> None:
    model = dashboard.worker.publish(dashboard.worker.start())
    page = visit(f"/models/{model}").page
    sent: list[Any] = []

    def answer(route: Any) -> None:  # no inference process here; the contract's answer in its place
        sent.append(route.request)
        route.fulfill(json={"label": "7", "probabilities": {"1": 0.02, "7": 0.97, "9": 0.01}})

    page.route("**/predict", answer)
    page.locator("#image").set_input_files(PNG)
    page.locator(".guess").first.wait_for()
    assert page.locator(".guess").first.inner_text().split() == ["7", "97.0", "%"]
    assert page.locator("#preview").evaluate("image => image.decode().then(() => image.naturalWidth)") == 8
    assert sent[0].headers["content-type"] == "image/png"


def test_without_inference_it_says_so(visit: Open, dashboard: Dashboard) -> None:
    model = dashboard.worker.publish(dashboard.worker.start())
    opened = visit(f"/models/{model}")
    opened.expected = ["503"]
    opened.page.locator("#image").set_input_files(PNG)
    opened.page.get_by_role("alert").filter(has_text="No prediction now").wait_for()


def test_a_digit_is_drawn_and_a_photograph_taken(visit: Open, dashboard: Dashboard) -> None:
    model = dashboard.worker.publish(dashboard.worker.start())
    page = visit(f"/models/{model}", permissions=["camera"]).page
    sent: list[bytes] = []

    def answer(route: Any) -> None:
        sent.append(route.request.post_data_buffer)
        route.fulfill(json={"label": "1", "probabilities": {"1": 0.9, "7": 0.1}})

    page.route("**/predict", answer)
    page.get_by_role("button", name="Draw one").click()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 140, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 240)
    page.mouse.up()
    page.get_by_text("90.0 %").wait_for()
    drawn = np.asarray(Image.open(io.BytesIO(sent[0])).convert("L"))
    assert drawn.shape == (280, 280)
    assert (drawn[140, 140], drawn[140, 20]) == (255, 0), "a white line on black"
    page.get_by_role("button", name="Camera").click()
    wait_until(lambda: page.evaluate("document.getElementById('video').videoWidth") > 0, "the camera's picture")
    page.get_by_role("button", name="Classify this").click()
    page.get_by_text("photograph").wait_for()
    wait_until(lambda: len(sent) == 2, "the photograph to be sent")
    photograph = Image.open(io.BytesIO(sent[1]))
    assert photograph.width == photograph.height > 100


def test_costs_are_shown_and_a_button_measures_latency(visit: Open, dashboard: Dashboard) -> None:
    model = dashboard.worker.publish(dashboard.worker.start())
    page = visit(f"/models/{model}").page
    costs = page.get_by_role("region", name="Costs of an image")
    assert costs.get_by_role("row", name="Multiplications").get_by_role("cell").all_inner_texts() == ["0", "415,848"]
    assert f"adder benchmark {model}" in costs.get_by_role("row", name="Latency, measured").inner_text()
    costs.get_by_role("button", name="Measure latency").click()
    page.wait_for_url("**/jobs/job_*")
    page.get_by_role("heading", name="benchmark").wait_for()
