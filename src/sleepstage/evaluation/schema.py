"""What an evaluation publishes: each number of ``results.json`` and ``metrics.json``, typed.

Shares, kappa, F1 and areas are at most 1; None stands where a number is not defined.
"""

from dataclasses import dataclass, field

from sleepstage._utils.files import FLAT
from sleepstage.core.agreement import Report
from sleepstage.evaluation.splits import Split

Numbers = dict[str, float | None]
"""Of a person or a night; see `sleepstage.evaluation.people.per_person`."""


@dataclass(frozen=True)
class OperatingPoint(Report):
    """`Report` of the same probabilities, decided with class weights."""

    factors: dict[str, float]
    """By which the probability of a class is multiplied; validation people chose them."""


@dataclass(frozen=True)
class Metrics(Report):
    """`Report` of a run's test people, decided by the largest probability."""

    operating_point: OperatingPoint | None = None
    """None where the classifier has none."""


@dataclass(frozen=True)
class RunResult:
    """One run of a model."""

    model: str
    run: int
    """From 1."""
    split: Split
    metrics: Metrics = field(metadata=FLAT)


@dataclass(frozen=True)
class FailedRun:
    """A run that could not be done."""

    model: str
    run: int
    reason: str


@dataclass(frozen=True)
class Spread:
    """A number over those runs, or people, for which it is defined."""

    mean: float | None
    """None where there are none."""
    std: float | None
    """Sample standard deviation (n - 1); None for fewer than two."""


@dataclass(frozen=True)
class SchemeSummary:
    """Numbers of `Agreement` over runs, in one scheme."""

    accuracy: Spread
    kappa: Spread
    macro_f1: Spread
    recall: dict[str, Spread]
    """By class."""

    @property
    def spreads(self) -> list[Spread]:
        """All of them, in this order."""
        return [self.accuracy, self.kappa, self.macro_f1, *self.recall.values()]

    @property
    def rem_recall(self) -> float | None:
        """Mean over runs; None also where the scheme has no REM."""
        return self.recall["rem"].mean if "rem" in self.recall else None


@dataclass(frozen=True)
class Summary:
    """Runs of a model in every scheme, finest first."""

    schemes: dict[str, SchemeSummary] = field(metadata=FLAT)
    operating_point: dict[str, SchemeSummary] | None = None
    """By scheme; None unless all runs have one."""


@dataclass(frozen=True)
class Estimate(Spread):
    """A number over people."""

    low: float | None
    high: float | None
    """95 % confidence interval of the mean; None for fewer than two people."""
    n: int
    """People for whom the number is defined."""


@dataclass(frozen=True)
class Difference:
    """A number under two models, over the people for whom both define it."""

    one: float | None
    other: float | None
    """Mean over people of each; None where there are none."""
    difference: Estimate
    """Of one minus other, person by person."""
    p_value: float | None
    """Two-sided, of differences that lie evenly around zero (Wilcoxon signed-rank test, zeros
    dropped); 1 where every difference is zero, None where there are no people."""


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of one sleep statistic, in its unit: minutes, or a share for efficiency."""

    people: list[str]
    """For whom the statistic is defined in both hypnograms."""
    predicted: list[float]
    reference: list[float]
    """Its value for each of them."""
    bias: Estimate
    """Of predicted minus reference."""
    lower_limit: float | None
    upper_limit: float | None
    """Limits of agreement, bias ± 1.96 standard deviations; None for fewer than two people."""
    slope: float | None
    intercept: float | None
    """Line of the difference on the reference; a slope is a bias that grows with size. None for
    fewer than three people or where all have the same reference."""
    p_value: float | None
    """Of a slope of zero (t-test); None also where all differences are the same."""


@dataclass(frozen=True)
class Curve:
    """One class against all others, over all thresholds of its probability."""

    x: list[float]
    y: list[float]
    """Receiver operating characteristic: false and true positive rate. Precision-recall: recall
    and precision. `x` ascends from 0 to 1."""
    area: float
    """Area under it; for precision-recall the average precision, which does not interpolate."""


@dataclass(frozen=True)
class Reliability:
    """How often the most probable class is right, against how probable the model held it."""

    edges: list[float]
    """Of the bins of probability, equally wide; one more than bins."""
    confidence: list[float | None]
    accuracy: list[float | None]
    """Mean probability and share of right epochs in each bin; None where it is empty."""
    n_epochs: list[int]
    """In each bin."""
    expected_calibration_error: float
    """Mean distance of confidence and accuracy, bins weighted by their epochs."""


@dataclass(frozen=True)
class CertaintyPoint:
    """Agreement once the least certain epochs are set aside."""

    set_aside: float
    """Share of the epochs that count."""
    n_epochs: int
    """Those that are left."""
    certainty: float
    """Of the least certain epoch that is left; see `sleepstage.core.hypnogram.certainty`."""
    accuracy: float
    kappa: float | None
    """As of `Agreement`, of the epochs that are left."""


@dataclass(frozen=True)
class RemPoint:
    """Agreement when the probability of REM is multiplied by `factor`; fields as `Agreement`."""

    factor: float
    recall: float | None
    precision: float | None
    accuracy: float
    kappa: float | None
    macro_f1: float


@dataclass(frozen=True)
class Curves:
    """What the probabilities are worth; all runs pooled."""

    roc: dict[str, Curve | None]
    precision_recall: dict[str, Curve | None]
    """By class; None where it, or every other, is absent."""
    reliability: Reliability
    certainty: list[CertaintyPoint]
    rem_trade_off: list[RemPoint]


@dataclass(frozen=True)
class ModelResult:
    """All runs of a model."""

    live: bool
    """Whether each epoch is predicted from data up to its own end."""
    summary: Summary
    people: dict[str, dict[str, Estimate]]
    """By scheme and number."""
    per_night: dict[str, dict[str, Numbers]]
    """By scheme and night."""
    curves: Curves
    bland_altman: dict[str, BlandAltman]
    """By sleep statistic."""
    against_first: dict[str, Difference] | None
    """To the first model, by number; None for itself and where the people are not the same."""


@dataclass(frozen=True)
class Results:
    """Every run, and the summary of all: ``results.json``."""

    runs: list[RunResult]
    failed: list[FailedRun]
    summary: Summary
    """Of the first model of which a run could be done."""
    models: dict[str, ModelResult]
    """By name."""

    @property
    def first(self) -> tuple[str, ModelResult]:
        """Name and numbers of the model that a report is about."""
        return next(iter(self.models.items()))

    def runs_of(self, model: str) -> list[RunResult]:
        """The runs of a model."""
        return [run for run in self.runs if run.model == model]
