"""The scores of a run as plain values: what the page, the charts and the text table all read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xllms.errors import InputError
from xllms.manifest import read_json

ABSENT = "–"
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
class Benchmark:
    """All scores of one benchmark: per language and model, summarised, and compared."""

    name: str
    models: tuple[str, ...]
    metrics: tuple[Metric, ...]
    languages: Mapping[str, Mapping[str, Mapping[str, Any]]]
    summary: Mapping[str, Mapping[str, Mean]]
    comparisons: tuple[Comparison, ...]

    @property
    def primary(self) -> Metric:
        """The metric that ranks languages: the first where higher is better."""
        return next((metric for metric in self.metrics if metric.higher_is_better), self.metrics[0])

    @property
    def off_target(self) -> Metric | None:
        """The off-target rate, when the benchmark has one."""
        return next((metric for metric in self.metrics if metric.key == "off_target"), None)

    def score(self, code: str, model: str, metric: Metric) -> float | None:
        """One language's score of one model, or None where nothing was measured."""
        return _number(self.languages.get(code, {}).get(model, {}).get(metric.key))

    def count(self, code: str, model: str, key: str) -> int | None:
        """One language's count, such as `n` or `decided`."""
        return _count(self.languages.get(code, {}).get(model, {}).get(key))

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
    return _MODEL_LABELS.get(model, model)


def read_scores(run: Path) -> Scores:
    """Read `evaluation/scores.json` of a run folder.

    Raises:
        InputError: no scores, or a file that does not hold scores; each says which command makes it.
    """
    path = run / "evaluation" / "scores.json"
    if not path.is_file():
        raise InputError(f"{path}: there are no scores to report; run `xllms evaluate RECIPE` first")
    value = read_json(path)
    try:
        models = tuple(str(model) for model in value["models"])
        benchmarks = tuple(_benchmark(name, models, part) for name, part in value["benchmarks"].items())
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path}: does not hold scores ({type(error).__name__}: {error}); "
            "run `xllms evaluate RECIPE --overwrite` to have it made again"
        ) from None
    if not models or not benchmarks:
        raise InputError(f"{path}: names no model or no benchmark; run `xllms evaluate RECIPE --overwrite`")
    return Scores(models, benchmarks)


def _benchmark(name: str, models: tuple[str, ...], value: Mapping[str, Any]) -> Benchmark:
    metrics = {
        key: Metric(key, str(part["label"]), bool(part["higher_is_better"]), float(part["scale"]))
        for key, part in value["metrics"].items()
    }
    if not metrics:
        raise ValueError(f"benchmark {name} has no metric")
    summary = {
        model: {key: _mean(part) for key, part in by_metric.items() if key in metrics}
        for model, by_metric in value["summary"].items()
    }
    comparisons = [
        _comparison(part, metrics[part["metric"]])
        for part in value.get("comparisons") or ()
        if part["metric"] in metrics
    ]
    # One language or model without answers is a gap in the page, not a reason to have no page.
    languages = {
        code: {model: dict(cell or {}) for model, cell in by_model.items()}
        for code, by_model in value["languages"].items()
    }
    return Benchmark(name, models, tuple(metrics.values()), languages, summary, tuple(comparisons))


def _mean(value: Mapping[str, Any]) -> Mean:
    return Mean(
        mean=_number(value.get("mean")),
        low=_number(value.get("low")),
        high=_number(value.get("high")),
        democratization=_number(value.get("democratization")),
        n_languages=_count(value.get("n_languages")),
        n=_count(value.get("n")),
        decided=_count(value.get("decided")),
        undecided=_count(value.get("undecided")),
        empty=_count(value.get("empty")),
    )


def _comparison(value: Mapping[str, Any], metric: Metric) -> Comparison:
    return Comparison(
        a=str(value["a"]),
        b=str(value["b"]),
        metric=metric,
        difference=_number(value.get("difference")),
        low=_number(value.get("low")),
        high=_number(value.get("high")),
        p=_number(value.get("p")),
        wins=int(value.get("wins") or 0),
        ties=int(value.get("ties") or 0),
        losses=int(value.get("losses") or 0),
    )


def _number(value: Any) -> float | None:
    """A finite number, or None: JSON from Python may hold NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
