"""A job's metrics as a table: what pandas and polars make of it, and how it is drawn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import matplotlib
import pandas as pd
import pytest
from matplotlib import pyplot

from adderclient import AdderClientError, MetricPoint, MetricTable

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def table() -> MetricTable:
    values = {"train/loss": [2.0, None, 1.0], "val/loss": [2.5, 1.5, 1.25], "val/accuracy": [0.25, 0.5, 0.75]}
    return MetricTable.of(
        MetricPoint(seq=3 * at + column, name=name, step=10 * at, epoch=at, value=value, time=NOON)
        for column, (name, series) in enumerate(values.items())
        for at, value in enumerate(series)
    )


@pytest.fixture(autouse=True)
def _no_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    pyplot.close("all")
    matplotlib.use(before)


def test_columns_have_one_length_and_the_fields_of_a_point(table: MetricTable) -> None:
    assert list(table) == ["seq", "name", "step", "epoch", "value", "time"]
    assert {len(column) for column in table.values()} == {table.rows} == {9}
    assert table.names == ["train/loss", "val/loss", "val/accuracy"]
    assert table.last() == {"train/loss": 1.0, "val/loss": 1.25, "val/accuracy": 0.75}
    assert table.only("val/loss")["value"] == [2.5, 1.5, 1.25]
    assert table.only("x").rows == 0
    assert repr(table) == "MetricTable(9 points of train/loss, val/loss, val/accuracy)"
    assert repr(MetricTable.of([])) == "MetricTable(0 points of nothing)"
    assert table._repr_html_().count("<tr>") == 10


def test_pandas_takes_it(table: MetricTable) -> None:
    frame = pd.DataFrame(table)
    assert list(frame.columns) == list(table)
    assert str(frame["value"].dtype) == "float64"
    assert frame["value"].isna().sum() == 1
    assert str(frame["time"].dtype).endswith("UTC]")
    wide = frame.pivot_table(index="step", columns="name", values="value")
    assert wide.loc[20, "val/accuracy"] == 0.75


def test_polars_takes_it(table: MetricTable) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed: pip install polars")
    frame = polars.DataFrame(table)
    assert frame.columns == list(table)
    assert frame.schema["value"] == polars.Float64
    assert frame["value"].null_count() == 1
    assert frame.filter(polars.col("name") == "val/accuracy")["value"].to_list() == [0.25, 0.5, 0.75]


def test_losses_and_accuracies_are_drawn_side_by_side(table: MetricTable) -> None:
    axes = table.plot(label="adder")
    assert [one.get_ylabel() for one in axes] == ["loss", "accuracy"]
    assert [line.get_label() for line in axes[0].lines] == ["adder train/loss", "adder val/loss"]
    assert list(axes[0].lines[1].get_ydata()) == [2.5, 1.5, 1.25]
    assert list(axes[0].lines[1].get_xdata()) == [0, 10, 20]
    again = table.only("val/accuracy", "val/loss").plot(axes=axes, label="conv")
    assert again == axes
    assert len(axes[1].lines) == 2
    with pytest.raises(AdderClientError, match="1 axes are too few for loss, accuracy"):
        table.plot(axes=axes[:1])
    with pytest.raises(AdderClientError, match="no metrics to draw"):
        MetricTable.of([]).plot()


def test_metrics_of_layers_share_a_picture(table: MetricTable) -> None:
    points = [MetricPoint(seq=at, name=f"grad_norm/conv{at}", step=1, value=1.0) for at in range(2)]
    (axes,) = MetricTable.of(points).plot()
    assert (axes.get_ylabel(), len(axes.lines)) == ("grad_norm", 2)


def test_without_matplotlib_it_says_what_to_install(table: MetricTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with warnings.catch_warnings(), pytest.raises(AdderClientError, match="pip install matplotlib"):
        table.plot()
