"""A benchmark for people: a table and a picture."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

COLOURS: Final = {"model": "tab:blue", "twin": "tab:orange"}


def report(model_id: str, result: dict[str, Any]) -> str:
    """The result as Markdown."""
    chip = result["processor"]
    lines = [
        f"# Latency of {model_id}",
        "",
        f"On {chip['name']} ({', '.join(chip['features']) or 'no vector instructions known'}), {result['timed']}.",
        "",
        "| | engine | numbers | batch | threads | p50, ms | p99, ms | images/s | bytes |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['what']} | {row['engine']} | {row['precision']} | {row['batch']} | {row['threads']} "
        f"| {row['p50_ms']:.3f} | {row['p99_ms']:.3f} | {row['images_per_second']:.0f} | {row['bytes']} |"
        for row in result["rows"]
    ]
    left = [f"- {one['what']}, {one['engine']}: {one['reason']}" for one in result["left_out"]]
    return "\n".join([*lines, *(["", "Not measured:", "", *left] if left else [])]) + "\n"


def picture(rows: list[dict[str, Any]]) -> bytes:
    """Bars of the medians as PNG, a group for each batch size; the thin lines reach to the 99th percentiles."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(9, 1.2 + 0.42 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    middles = [row["p50_ms"] / row["batch"] for row in rows]
    tails = [(row["p99_ms"] - row["p50_ms"]) / row["batch"] for row in rows]
    places = range(len(rows))
    axes.barh(places, middles, xerr=[[0.0] * len(rows), tails], color=[COLOURS[row["what"]] for row in rows])
    axes.set_yticks(places, [f"{row['engine']}, {row['precision']}, batch {row['batch']}" for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds an image: median, and up to the 99th percentile", xscale="log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3, axis="x")
    known = [what for what in COLOURS if any(row["what"] == what for row in rows)]
    axes.legend([Patch(color=COLOURS[what]) for what in known], known, fontsize="small")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
