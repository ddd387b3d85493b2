"""What a browser loads beside the pages stays light."""

from __future__ import annotations

from api.web.static_files import assets

MOST_BYTES = 150_000
"""Scripts and styles together, uncompressed. There is no chart library; with one they might weigh 220,000."""


def test_scripts_and_styles_are_light() -> None:
    weight = {name: len(asset.content) for name, asset in assets().items() if name.endswith((".js", ".css"))}
    assert len(weight) > 20
    assert sum(weight.values()) <= MOST_BYTES, sorted(weight.items(), key=lambda one: -one[1])[:5]
