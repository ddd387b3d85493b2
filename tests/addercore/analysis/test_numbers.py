"""What the analyses compute: fits against SciPy, statistics by hand, claims that can come out either way."""

import csv
import io
from math import exp, log, sqrt
from random import Random
from typing import Any

import pytest
import torch
from scipy import stats

from addercore.analysis import features, fits, gradients
from addercore.analysis.claims import Accuracies, order, together
from addercore.analysis.filters import neighbours
from addercore.analysis.findings import Finding
from addercore.analysis.report import Column, Table, Verdict, plain
from addercore.analysis.statistics import (
    NORMAL_LIMIT,
    chance_limit,
    compare,
    mean_of,
    student_limit,
    student_probability,
)
from addercore.analysis.variance import predicted
from addercore.config import AnalyzeConfig
from addercore.nn import Adder2d


def drawn(family: str, n: int = 4000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    uniform = torch.rand(n, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    return fits.quantile(uniform, "laplace" if family == "laplace" else "gaussian", 0.3, 2.0)


@pytest.mark.parametrize("family", fits.FAMILIES)
@pytest.mark.parametrize("truth", fits.FAMILIES)
def test_fits_are_scipys(family: fits.Family, truth: str) -> None:
    values = drawn(truth)
    theirs = {"laplace": stats.laplace, "gaussian": stats.norm}[family]
    parameters = theirs.fit(values.numpy())
    ours = fits.fit(values, family)
    assert (ours.location, ours.scale) == pytest.approx(parameters, rel=1e-9)
    assert ours.log_likelihood == pytest.approx(theirs.logpdf(values.numpy(), *parameters).sum(), rel=1e-9)
    assert ours.ks == pytest.approx(stats.kstest(values.numpy(), theirs.cdf, parameters).statistic, rel=1e-9)


def test_each_distribution_is_told_from_the_other_and_none_from_a_coin() -> None:
    assert fits.compare(drawn("laplace")).better == "laplace"
    assert fits.compare(drawn("gaussian")).better == "gaussian"
    assert fits.compare(drawn("laplace", 20)).better is None
    found = fits.compare(drawn("laplace"))
    likelier = found.laplace.log_likelihood - found.gaussian.log_likelihood
    gain = fits.log_density(drawn("laplace"), "laplace", found.laplace.location, found.laplace.scale)
    gain = gain - fits.log_density(drawn("laplace"), "gaussian", found.gaussian.location, found.gaussian.scale)
    assert found.z == pytest.approx(likelier / (sqrt(4000) * gain.std(correction=0).item()))


def test_the_control_reshapes_weights_and_keeps_their_order() -> None:
    weights = drawn("laplace").view(40, 100).float()
    control = fits.reshaped(weights, "gaussian")
    assert control.shape == weights.shape
    assert torch.equal(control.flatten().argsort(stable=True), weights.flatten().argsort(stable=True))
    assert fits.compare(control).better == "gaussian"
    assert fits.compare(fits.reshaped(control, "laplace")).better == "laplace"


def test_means_and_paired_differences_by_hand() -> None:
    assert mean_of([0.5]) == mean_of([0.5]).__class__(0.5, None, 1)
    assert mean_of([1.0, 3.0]).sd == pytest.approx(sqrt(2))
    a, b = {0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.8, 1: 0.8, 2: 0.5, 9: 0.1}
    found = compare(a, b, 360)
    assert found is not None
    assert (found.mean, found.n, found.paired) == (pytest.approx(0.1), 3, True)
    assert found.se == pytest.approx(0.1 / sqrt(3))
    assert found.sign == 0
    assert found.margin == pytest.approx(stats.t.ppf(0.975, 2) * found.se)
    assert found.points() == "+10.00 ± 24.84 points"
    single = compare({0: 0.9}, {0: 0.5}, 100)
    assert single is not None
    assert (single.se, single.paired, single.sign) == (pytest.approx(sqrt((0.09 + 0.25) / 100)), False, 1)
    assert single.margin == pytest.approx(stats.norm.ppf(0.975) * single.se)
    assert compare({0: 1.0}, {1: 1.0}, 100) is None
    assert chance_limit(10, 360) == pytest.approx(0.1 + 3 * sqrt(0.09 / 360))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 14, 29, 99, 100])
def test_limits_of_student_s_t_are_scipy_s(freedom: int) -> None:
    assert student_limit(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-12)
    assert student_limit(freedom, 0.5) == pytest.approx(stats.t.ppf(0.75, freedom), rel=1e-12)
    for limit in (0.0, 0.1, 1.0, 7.0, 300.0):
        assert student_probability(limit, freedom) == pytest.approx(2 * stats.t.cdf(limit, freedom) - 1, abs=1e-13)


def test_limits_that_are_in_every_textbook() -> None:
    assert [round(student_limit(freedom), 2) for freedom in (1, 2, 4, 9)] == [12.71, 4.30, 2.78, 2.26]
    assert round(NORMAL_LIMIT, 2) == 1.96
    with pytest.raises(ValueError, match="at least one degree of freedom, got 0"):
        student_limit(0)


@pytest.mark.parametrize("seeds", [3, 5])
def test_an_interval_of_few_seeds_holds_the_truth_as_often_as_it_says(seeds: int) -> None:
    """Two standard errors would hold it in 82 % (three seeds) and 88 % (five)."""
    source, held, tries = Random(1), 0, 4000
    for _ in range(tries):
        found = compare({s: source.gauss(0.9, 0.01) for s in range(seeds)}, dict.fromkeys(range(seeds), 0.88), 360)
        assert found is not None
        held += abs(found.mean - 0.02) <= found.margin
    assert held / tries == pytest.approx(0.95, abs=0.012)


def test_three_seeds_two_and_a_half_standard_errors_apart_are_a_tie() -> None:
    found = compare({0: 0.91, 1: 0.93, 2: 0.95}, {0: 0.90, 1: 0.90, 2: 0.90}, 360)
    assert found is not None
    assert found.mean / found.se == pytest.approx(0.03 * sqrt(3) / 0.02)
    assert found.sign == 0


def test_a_verdict_says_how_many_comparisons_were_made() -> None:
    found = accuracies(a=[0.95, 0.96, 0.95], b=[0.90, 0.91, 0.89], c=[0.80, 0.81, 0.82])
    verdict = order(found, ["a", "b", "c"])
    found.difference("b", "a")  # the same pair again
    verdict = verdict.after(found.comparisons)
    assert verdict.comparisons == 3
    assert verdict.reasons[-1] == (
        "3 comparisons were made, each with its own 95 % interval and none corrected for the others: chance alone "
        "makes about 0.15 of 3 miss."
    )
    assert Verdict("nothing", None).after(0).reasons == []
    assert Verdict("one", None).after(1).reasons == ["One comparison was made, with a 95 % interval."]


def norms(conv: list[float], adder: list[float]) -> list[Finding]:
    """Gradient norms of a network of one layer, by seed."""
    return [
        Finding(f"{method}-{seed}", method, seed, {"norms": {"layer": value}})
        for method, values in (("conv", conv), ("adder", adder))
        for seed, value in enumerate(values)
    ]


def test_table_1_has_one_ratio_in_its_table_its_verdict_and_its_reasons() -> None:
    """The geometric mean of the seeds' ratios 100, 400 and 1,600; the ratio of the mean norms would be 278."""
    config = AnalyzeConfig.from_dict({"recipe": "table1", "seeds": [0, 1, 2]})
    made = gradients.report(config, norms([2.0, 4.0, 8.0], [0.02, 0.01, 0.005]))
    assert made.table.rows[0]["ratio"] == pytest.approx(400)
    assert "400 to 400 times" in made.verdict.text
    half = stats.t.ppf(0.975, 2) * log(4) / sqrt(3)
    low, high = (plain(400 * exp(sign * half), 3) for sign in (-1, 1))
    assert (
        made.verdict.reasons[0] == f"layer: the CNN's gradient is 400 times the adder network's (95 %: {low} to {high})"
    )
    assert made.verdict.holds is True
    assert "geometric mean" in made.caption


def test_table_1_of_three_seeds_that_scatter_is_not_told_from_chance() -> None:
    """Log ratios 0.1, 1.1, 2.1: mean 1.1, standard error 0.58: beyond one and below 4.3 of them."""
    conv = [exp(value) for value in (0.1, 1.1, 2.1)]
    config = AnalyzeConfig.from_dict({"recipe": "table1", "seeds": [0, 1, 2]})
    assert gradients.report(config, norms(conv, [1.0] * 3)).verdict.holds is False
    one = gradients.report(AnalyzeConfig.from_dict({"recipe": "table1", "seeds": [0]}), norms([3.0], [1.0])).verdict
    assert (one.holds, one.comparisons) == (True, 0)
    assert "One initialisation tells no spread" in one.reasons[-1]


def test_images_seen_by_several_trainings_make_no_interval_narrower() -> None:
    def finding(seed: int, by_centre: float) -> Finding:
        facts = {"by_centre": by_centre, "by_angle": 0.8, "advantage_se": 0.02}
        return Finding(f"adder-{seed}", "adder", seed, facts)

    one, two = [finding(0, 0.9)], [finding(0, 0.9), finding(1, 0.92)]
    assert features._advantage(one) == pytest.approx((0.1, stats.norm.ppf(0.975) * 0.02))
    assert features._advantage(two) == pytest.approx((0.11, stats.norm.ppf(0.975) * 0.02))
    three = features._advantage([*two, finding(2, 0.94)])
    assert three == pytest.approx((0.12, stats.t.ppf(0.975, 2) * 0.02 / sqrt(3)))


def accuracies(**rows: list[float | None]) -> Accuracies:
    """Rows' accuracies by seed; None is a training that diverged."""
    findings = [
        Finding(
            f"{row}-{seed}",
            row,
            seed,
            {"metrics": {"val/accuracy": value}} if value is not None else {},
            diverged="the loss became nan" if value is None else None,
        )
        for row, values in rows.items()
        for seed, value in enumerate(values)
    ]
    return Accuracies(AnalyzeConfig.from_dict({"recipe": "figure3"}), findings)


def test_the_order_holds_with_ties_and_falls_with_one_row_ahead() -> None:
    rows: dict[str, Any] = {"a": [0.95, 0.96, 0.94], "b": [0.94, 0.96, 0.945], "c": [0.90, 0.92, 0.91]}
    held = order(accuracies(**rows), ["a", "b", "c"])
    assert held.holds is True
    assert held.text == "In the paper's order: a ≥ b ≥ c, with ties between a and b."
    turned = order(accuracies(**rows), ["c", "a", "b"])
    assert turned.holds is False
    assert turned.text == "Not in the paper's order: a is ahead of c; b is ahead of c."
    level = order(accuracies(a=[0.9, 0.91, 0.92], b=[0.91, 0.90, 0.92]), ["a", "b"])
    assert level.holds is None


def test_a_row_that_always_diverges_is_behind() -> None:
    found = accuracies(a=[None, None], b=[0.9, 0.9], c=[0.9, None])
    assert (found.sign("a", "b"), found.sign("b", "a"), found.diverged("c")) == (-1, 1, 1)
    assert order(found, ["a", "b"]).holds is False
    assert "diverged with every seed" in found.describe("a", "b")


def test_claims_come_out_three_ways() -> None:
    found = accuracies(a=[0.95, 0.96, 0.95], b=[0.955, 0.966, 0.957], c=[0.90, 0.91, 0.89], d=[0.96, 0.98, 0.90])
    assert found.within("a", "b", 1).holds is True
    assert found.within("c", "a", 1).holds is False
    assert found.within("d", "b", 1).holds is None
    assert [found.ahead(*pair).holds for pair in (("a", "c"), ("c", "a"), ("a", "d"))] == [True, False, None]
    both = together([found.ahead("a", "c"), found.within("c", "a", 1)], [])
    assert both.holds is False
    assert both.text.startswith("A is ahead of c (+5.33 ± 1.43 points). C is more than one point behind a")
    assert together([], []).holds is None


def test_guessing_networks_are_no_comparison() -> None:
    guessing = accuracies(a=[0.11, 0.09], b=[0.12, 0.10])
    assert not guessing.learnt()
    assert guessing.nothing_learnt().holds is False
    assert "guessing gives 10.0 %" in guessing.nothing_learnt().text
    some = accuracies(a=[0.2, 0.2], b=[0.1, 0.1], c=[0.11, 0.11])
    assert some.learnt()
    assert some.within("b", "c", 1).text == some.ahead("b", "c").text == "neither b nor c has learnt"
    assert some.within("b", "c", 1).holds is False


def test_tables_are_read_by_people_and_by_programs() -> None:
    columns = (
        Column("name", "network"),
        Column("a", "accuracy, %", "percent", "a_sd"),
        Column("d", "difference", "points", "d_se"),
        Column("n", "operations", "count"),
        Column("never", "never"),
    )
    rows: list[dict[str, Any]] = [
        {"name": "x|y", "a": 0.9567, "a_sd": 0.0123, "d": -0.0042, "d_se": 0.001, "n": 1234567},
        {"name": "z", "a": None, "n": None},
    ]
    table = Table(columns, rows)
    assert table.markdown().splitlines() == [
        "| network | accuracy, % | difference | operations |",
        "|---|---:|---:|---:|",
        "| x\\|y | 95.67 ± 1.23 | −0.42 ± 0.10 | 1,234,567 |",
        "| z | – | – | – |",
    ]
    read = list(csv.DictReader(io.StringIO(table.csv())))
    assert read[0] == {"name": "x|y", "a": "0.9567", "a_sd": "0.0123", "d": "-0.0042", "d_se": "0.001", "n": "1234567"}
    assert set(read[1].values()) == {"z", ""}


def test_numbers_are_written_without_powers_of_ten_where_that_reads_well() -> None:
    values = (0.0123456, 1.23456, 12345.6, 0.0, 0.00001234, -3.14159)
    assert [plain(value) for value in values] == ["0.01235", "1.235", "12,346", "0", "1.234e−05", "−3.142"]
    assert plain(3471.0, 3) == "3,471"


def test_neighbouring_taps_of_stripes_and_of_noise() -> None:
    ramp = torch.arange(5.0, dtype=torch.float64).expand(6, 1, 5, 5)
    assert neighbours(ramp) > 0.5
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).repeat(3, 1, 2, 2)
    assert neighbours(board) == pytest.approx(-1)
    assert neighbours(torch.ones(2, 1, 3, 3, dtype=torch.float64)) == 0.0
    noise = torch.randn(200, 1, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert abs(neighbours(noise)) < 0.1


def test_variances_are_predicted_by_the_equations() -> None:
    convolution, adder = torch.nn.Conv2d(3, 8, 5, bias=False), Adder2d(3, 8, 5)
    assert predicted(convolution, 2.0, 3.0) == 75 * 2 * 3
    assert predicted(adder, 2.0, 3.0) == pytest.approx((1 - 2 / 3.141592653589793) * 75 * 5)


def plane(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of three classes: round centres of one direction ("centres"), or on rays of one length each ("rays")."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(300) % 3
    noise = torch.randn(300, 2, generator=generator, dtype=torch.float64)
    if kind == "centres":
        return torch.tensor([[1.0, 1.0], [4.0, 4.0], [9.0, 9.0]], dtype=torch.float64)[labels] + 0.3 * noise, labels
    angles = labels * 2.1 + 0.05 * noise[:, 0]
    lengths = 0.1 + 5 * torch.rand(300, generator=generator, dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], 1) * lengths[:, None], labels


@pytest.mark.parametrize(("kind", "centre_wins"), [("centres", True), ("rays", False)])
def test_centres_and_directions_tell_what_they_should(kind: str, centre_wins: bool) -> None:
    points, labels = plane(kind)
    by_centre = (features._nearest_centre(points, labels, points, 4) == labels).double()
    by_angle = (features._nearest_direction(points, labels, points, 4) == labels).double()
    difference = (by_centre - by_angle).mean().item()
    assert abs(difference) > 2 * features._paired_error(by_centre == 1, by_angle == 1)
    assert (difference > 0) is centre_wins
    if kind == "centres":
        assert features._between(points, labels, 4) > 10 * features._within(points, labels, 4)
    else:
        assert features._angle_within(points, labels, 4) < 5


@pytest.mark.parametrize(
    ("adder", "conv", "holds", "words"),
    [
        ((0.92, 0.74), (0.92, 0.92), True, "cluster round class centres. CNN features separate by angle."),
        ((0.92, 0.74), (0.93, 0.86), None, "separate by angle more than AdderNet's"),
        ((0.92, 0.74), (0.93, 0.73), False, "CNN features are told better by class centres"),
        ((0.92, 0.92), (0.92, 0.92), False, "AdderNet features are told by angle as well"),
        ((0.12, 0.10), (0.92, 0.92), False, "The features of AdderNet tell the classes no better than guessing"),
        (None, (0.92, 0.92), False, "AdderNet diverged."),
    ],
)
def test_the_verdict_on_features(
    adder: tuple[float, float] | None, conv: tuple[float, float], holds: bool | None, words: str
) -> None:
    rows: list[dict[str, Any]] = []
    for method, name, shares in (("adder", "AdderNet", adder), ("conv", "CNN", conv)):
        row: dict[str, Any] = {"method": method, "network": name}
        if shares is not None:
            row |= {"by_centre": shares[0], "by_angle": shares[1], "advantage": shares[0] - shares[1]}
            row |= {"advantage_margin": 0.04, "images": 360, "within": 0.2, "between": 0.0}
        rows.append(row)
    verdict = features._verdict(rows, 0.1)
    assert verdict.holds is holds
    assert words in verdict.text
