"""The scores of a run as plain values: what the page, the charts and the text table all read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xllms.errors import visible
from xllms.report.tally import Tallies, Tally, totals

ABSENT = "–"
SURE = 0.05  # of a corrected p
GROUPS = ("resource", "script", "family")
_MODEL_LABELS = {"base": "Base", "sft": "SFT", "dpo": "DPO"}


@dataclass(frozen=True)
class Metric:
    """One measure of a benchmark; shares (scale 1) are shown in percent."""

    key: str
    label: str
    higher_is_better: bool
    scale: float

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return f"{self.label}, %" if self.scale == 1 else self.label

    def show(self, value: float | None) -> str:
        """One decimal, in the unit of `heading`; a dash for what was not measured."""
        return ABSENT if value is None else f"{self._scaled(value):.1f}"

    def show_difference(self, value: float | None) -> str:
        """Like `show`, with its sign."""
        if value is None:
            return ABSENT
        return f"{self._scaled(value):+.1f}".replace("-", "−")

    def gain(self, before: float, after: float) -> float:
        """How much better `after` is: positive is better, whichever way the metric points."""
        return after - before if self.higher_is_better else before - after

    def _scaled(self, value: float) -> float:
        return value * 100 if self.scale == 1 else value


@dataclass(frozen=True)
class GroupMean:
    """The mean over the languages of one resource class, script or family."""

    mean: float | None
    n_languages: int


@dataclass(frozen=True)
class Mean:
    """A mean over languages with its 95% interval, and the counts behind it."""

    mean: float | None
    low: float | None
    high: float | None
    democratization: float | None
    n_languages: int | None
    n: int | None
    decided: int | None
    undecided: int | None
    empty: int | None
    deviation: float | None = None
    worst: float | None = None
    best: float | None = None
    groups: Mapping[str, Mapping[str, GroupMean]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Model `b` against model `a`, paired by language."""

    a: str
    b: str
    metric: Metric
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    wins: int
    ties: int
    losses: int

    @property
    def languages(self) -> int:
        """How many languages were paired."""
        return self.wins + self.ties + self.losses


@dataclass(frozen=True)
class Change:
    """One language's difference between two models over its items; p is corrected for the number of languages."""

    difference: float
    low: float | None
    high: float | None
    p: float

    @property
    def sure(self) -> bool:
        """Whether it is no chance, after the correction."""
        return self.p < SURE


@dataclass(frozen=True)
class Within:
    """Model `b` against model `a` within each language, over its items: where the difference is sure after Holm.

    `better` and `worse` hold language codes, the surest first; `changes` those of all languages.
    """

    a: str
    b: str
    metric: Metric
    better: tuple[str, ...]
    worse: tuple[str, ...]
    changes: Mapping[str, Change]

    @property
    def tested(self) -> int:
        """In how many languages both models were scored."""
        return len(self.changes)


@dataclass(frozen=True)
class Group:
    """One resource class, script or family: each metric's mean of each model."""

    by: str
    name: str
    n_languages: int
    means: tuple[tuple[Metric, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class Benchmark:
    """All scores of one benchmark: per language and model, summarised, and compared."""

    name: str
    models: tuple[str, ...]
    metrics: tuple[Metric, ...]
    languages: Mapping[str, Mapping[str, Mapping[str, Any]]]
    summary: Mapping[str, Mapping[str, Mean]]
    comparisons: tuple[Comparison, ...]
    tests: tuple[Within, ...] = ()
    judged: Tallies = field(default_factory=dict)

    @property
    def primary(self) -> Metric:
        """The metric that ranks languages: the first where higher is better."""
        return next((metric for metric in self.metrics if metric.higher_is_better), self.metrics[0])

    @property
    def off_target(self) -> Metric | None:
        """The off-target rate, when the benchmark has one."""
        return next((metric for metric in self.metrics if metric.key == "off_target"), None)

    @property
    def judged_in_all(self) -> Mapping[str, Tally]:
        """Each model that a judge held against the baseline, over all languages."""
        found = totals(self.judged)
        return {model: found[model] for model in self.models if model in found}

    @property
    def baseline(self) -> str | None:
        """What a judge held the others against: the one model that was not judged itself; None where that tells not."""
        others = [model for model in self.models if model not in self.judged_in_all]
        return others[0] if self.judged and len(others) == 1 else None

    def score(self, code: str, model: str, metric: Metric) -> float | None:
        """One language's score of one model, or None where nothing was measured."""
        return number(self.languages.get(code, {}).get(model, {}).get(metric.key))

    def bounds_of(self, code: str, model: str, metric: Metric) -> tuple[float, float] | None:
        """The 95% interval of one score, or None where there is none."""
        ends = (self.languages.get(code, {}).get(model, {}).get("intervals") or {}).get(metric.key) or ()
        low, high = map(number, ends) if len(ends) == 2 else (None, None)
        return None if low is None or high is None else (low, high)

    def extremes(self, model: str, metric: Metric) -> tuple[str, str] | None:
        """The languages of one model's worst and best score; None where it has none."""
        scores = [(v, code) for code in self.languages if (v := self.score(code, model, metric)) is not None]
        if not scores:
            return None
        low, high = min(scores)[1], max(scores)[1]
        return (low, high) if metric.higher_is_better else (high, low)

    def unparsed(self, model: str) -> int:
        """Answers of a model in which no answer was found, in all languages together."""
        return sum(self.count(code, model, "unparsed") or 0 for code in self.languages)

    def compared(self, a: str, b: str, metric: Metric) -> Comparison | None:
        """The comparison over languages that stands beside a test within them."""
        return next((c for c in self.comparisons if (c.a, c.b, c.metric) == (a, b, metric)), None)

    @property
    def grouped(self) -> list[Group]:
        """Means by resource class, script and family: the largest groups first, one row each."""
        found: dict[tuple[str, str], int] = {}
        for means in self.summary.values():
            for mean in means.values():
                for by, members in mean.groups.items():
                    for name, one in members.items():
                        found[by, name] = max(found.get((by, name), 0), one.n_languages)
        order = sorted(found, key=lambda key: (GROUPS.index(key[0]), -found[key], key[1]))
        return [Group(by, name, found[by, name], self._group_means(by, name)) for by, name in order]

    def _group_means(self, by: str, name: str) -> tuple[tuple[Metric, tuple[float | None, ...]], ...]:
        def one(model: str, metric: Metric) -> float | None:
            mean = self.summary.get(model, {}).get(metric.key)
            group = mean.groups.get(by, {}).get(name) if mean else None
            return group.mean if group else None

        return tuple((metric, tuple(one(model, metric) for model in self.models)) for metric in self.metrics)

    @property
    def with_unparsed(self) -> bool:
        """Whether any model gave answers in which none was found."""
        return any(self.unparsed(model) for model in self.models)

    def count(self, code: str, model: str, key: str) -> int | None:
        """One language's count, such as `n` or `decided`."""
        return count(self.languages.get(code, {}).get(model, {}).get(key))

    def counted(self, code: str, model: str, metric: Metric) -> int | None:
        """Items that one score is of where it is not of all that were asked, or None."""
        return count((self.languages.get(code, {}).get(model, {}).get("counted") or {}).get(metric.key))

    @property
    def partly_counted(self) -> bool:
        """Whether any score but the off-target rate is of fewer items than were asked."""
        cells = (cell for by_model in self.languages.values() for cell in by_model.values())
        return any(key != "off_target" for cell in cells for key in cell.get("counted") or ())

    def items(self, code: str) -> int | None:
        """Items asked in a language: the most that any model answered."""
        counts = [n for model in self.models if (n := self.count(code, model, "n")) is not None]
        return max(counts, default=None)

    def bounds(self, metric: Metric) -> tuple[float, float]:
        """Lowest and highest score of any model in any language."""
        values = [
            value
            for code in self.languages
            for model in self.models
            if (value := self.score(code, model, metric)) is not None
        ]
        return (min(values), max(values)) if values else (0.0, 0.0)


@dataclass(frozen=True)
class Scores:
    """What `evaluation/scores.json` holds."""

    models: tuple[str, ...]
    benchmarks: tuple[Benchmark, ...]


def model_label(model: str) -> str:
    """A model's name as a heading."""
    return visible(_MODEL_LABELS.get(model, model))


def number(value: Any) -> float | None:
    """A finite number, or None: JSON from Python may hold NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def count(value: Any) -> int | None:
    """A whole number, or None."""
    found = number(value)
    return None if found is None else int(found)
