"""The paper's claims about accuracies: tests of each claim, and the verdict that follows from them."""

from collections.abc import Iterable
from dataclasses import dataclass

from addercore.analysis.figures import ARCH_NAMES, GRADIENT_NAMES, METHOD_NAMES, RATE_NAMES
from addercore.analysis.findings import Finding, by_seed
from addercore.analysis.report import Verdict
from addercore.analysis.statistics import Difference, Mean, chance_limit, compare, mean_of
from addercore.config import AnalyzeConfig, Row, dataset, images_of

ACCURACY = ("metrics", "val/accuracy")


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence and whether it holds; None if the numbers cannot tell."""

    text: str
    holds: bool | None


def name_of(row: Row, several: bool) -> str:
    """The name of a row in a sentence; with `several` networks it includes the network's name."""
    labels = dict(row.labels)
    if "eta" in labels:
        return f"η = {labels['eta']:g}"
    if "gradient" in labels:
        return f"{GRADIENT_NAMES[labels['gradient']]} + {RATE_NAMES[labels['local_rate']]}"
    if "method" not in labels:
        return str(labels["network"])
    method = METHOD_NAMES[labels["method"]]
    return f"{ARCH_NAMES.get(labels['network'], labels['network'])} as {method}" if several else method


class Accuracies:
    """Validation accuracies by row and seed, and how rows compare."""

    def __init__(self, config: AnalyzeConfig, findings: Iterable[Finding]) -> None:
        self.findings = list(findings)
        self.names = {row.key: name_of(row, len(config.archs or ()) > 1) for row in config.rows()}
        classes, (_, self.images) = len(dataset(config.dataset.name).classes), images_of(config.dataset)
        self.chance, self.limit = 1 / classes, chance_limit(classes, self.images)
        self.rows = list(dict.fromkeys(finding.row for finding in self.findings))
        self.by_row = {row: by_seed(self.findings, row, *ACCURACY) for row in self.rows}
        self._compared: set[frozenset[str]] = set()

    def mean(self, row: str) -> Mean | None:
        """Mean accuracy of a row; None if all its trainings diverged."""
        values = list(self.by_row[row].values())
        return mean_of(values) if values else None

    def diverged(self, row: str) -> int:
        return sum(finding.row == row and finding.diverged is not None for finding in self.findings)

    def difference(self, row: str, other: str) -> Difference | None:
        """Difference of two rows' accuracies, paired by seed, with its interval; None if no seed has both."""
        difference = compare(self.by_row[row], self.by_row[other], self.images)
        if difference is not None:
            self._compared.add(frozenset((row, other)))
        return difference

    @property
    def comparisons(self) -> int:
        """Pairs of rows that `difference` has compared so far."""
        return len(self._compared)

    def sign(self, row: str, other: str) -> int | None:
        """1, 0 or −1 if `row` is ahead of, ties with or is behind `other`. A row that always diverges is behind."""
        difference = self.difference(row, other)
        if difference is not None:
            return difference.sign
        lost = [not self.by_row[name] for name in (row, other)]
        return None if lost[0] == lost[1] else -1 if lost[0] else 1

    def learnt(self) -> bool:
        """Whether the mean of any row is above the accuracy of guessing."""
        means = [mean.value for row in self.rows if (mean := self.mean(row)) is not None]
        return bool(means) and max(means) > self.limit

    def nothing_learnt(self) -> Verdict:
        means = [mean.value for row in self.rows if (mean := self.mean(row)) is not None]
        best = f"the best mean accuracy is {100 * max(means):.1f} %" if means else "every training diverged"
        return Verdict(
            f"Nothing has learnt: {best} where guessing gives {100 * self.chance:.1f} %. The comparison says nothing.",
            False,
            [f"accuracies up to {100 * self.limit:.1f} % can be guesses (1/classes and three standard errors)"],
        )

    def describe(self, row: str, other: str) -> str:
        """`AdderNet against CNN: −0.39 ± 0.58 points over 5 seeds, a tie`; ± is half of the 95 % interval."""
        difference = self.difference(row, other)
        pair = f"{self.name(row)} against {self.name(other)}"
        if difference is None:
            return f"{pair}: one of them diverged with every seed"
        word = {1: "ahead", 0: "a tie", -1: "behind"}[difference.sign]
        source = "" if difference.paired else ", by the validation set's size"
        return f"{pair}: {difference.points()} over {_seeds(difference.n)}{source}, {word}"

    def name(self, row: str) -> str:
        """The name of a row in a sentence."""
        return self.names.get(row, row)

    def guessing(self, row: str, other: str) -> bool:
        """Whether the means of both rows are within the accuracy of guessing."""
        means = [mean.value for name in (row, other) if (mean := self.mean(name)) is not None]
        return bool(means) and max(means) <= self.limit

    def ahead(self, row: str, other: str) -> Claim:
        """The claim that `row` is ahead of `other`."""
        what, other_name = self.name(row), self.name(other)
        if self.guessing(row, other):
            return Claim(f"neither {what} nor {other_name} has learnt", False)
        sign = self.sign(row, other)
        difference = self.difference(row, other)
        by = "" if difference is None else f" ({difference.points()})"
        if sign == 1:
            return Claim(f"{what} is ahead of {other_name}{by}", True)
        if sign == -1:
            return Claim(f"{what} is behind {other_name}{by}", False)
        return Claim(f"{what} and {other_name} cannot be told apart{by}", None)

    def within(self, row: str, other: str, points: float) -> Claim:
        """The claim that the mean of `row` is at most `points` percentage points below that of `other`."""
        what, other_name = self.name(row), self.name(other)
        if self.guessing(row, other):
            return Claim(f"neither {what} nor {other_name} has learnt", False)
        difference = self.difference(row, other)
        if difference is None:
            return Claim(f"{what} and {other_name} have no seed in which both ended", False)
        margin = "one point" if points == 1 else f"{points:g} points"
        least = -points / 100
        if difference.mean >= least:
            return Claim(f"{what} is within {margin} of {other_name} ({difference.points()})", True)
        if difference.mean + difference.margin >= least:
            return Claim(f"{what} may be within {margin} of {other_name} ({difference.points()})", None)
        return Claim(f"{what} is more than {margin} behind {other_name} ({difference.points()})", False)


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def together(claims: list[Claim], reasons: list[str]) -> Verdict:
    """Joins claims to a verdict. It holds if all claims hold; it is open if none fails and some cannot be told."""
    if not claims:
        return Verdict("There is nothing to compare: one row alone.", None, reasons)
    text = " ".join(f"{claim.text[0].upper()}{claim.text[1:]}." for claim in claims)
    answers = {claim.holds for claim in claims}
    holds = False if False in answers else None if None in answers else True
    return Verdict(text, holds, reasons)


def order(accuracies: Accuracies, expected: list[str]) -> Verdict:
    """Whether no row of `expected` is behind a later one. Two rows tie if their difference's interval holds zero."""
    rows = [row for row in expected if row in accuracies.rows]
    pairs = [(first, second) for place, first in enumerate(rows) for second in rows[place + 1 :]]
    reasons = [accuracies.describe(first, second) for first, second in pairs]
    signs = {pair: accuracies.sign(*pair) for pair in pairs}
    name = accuracies.name
    wrong = [f"{name(second)} is ahead of {name(first)}" for (first, second), sign in signs.items() if sign == -1]
    ties = [f"{name(first)} and {name(second)}" for (first, second), sign in signs.items() if sign in (0, None)]
    if wrong:
        return Verdict(f"Not in the paper's order: {'; '.join(wrong)}.", False, reasons)
    if pairs and len(ties) == len(pairs):
        return Verdict("All schemes are level: the paper's order can be neither seen nor excluded.", None, reasons)
    tied = f", with ties between {'; '.join(ties)}" if ties else ""
    return Verdict(f"In the paper's order: {' ≥ '.join(map(name, rows))}{tied}.", True, reasons)
