"""From predictions to `scores.json`: every figure per language with its count, then the few over all languages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from xllms.evaluation import facts, xcopa
from xllms.metrics.across_languages import compare, democratization, interval, mean
from xllms.records import Prediction

_BENCHMARKS: dict[str, tuple[dict[str, dict[str, Any]], Callable[[Sequence[Prediction]], dict[str, Any]]]] = {
    "facts": (facts.METRICS, facts.score),
    "xcopa": (xcopa.METRICS, xcopa.score),
}
_COUNTS = ("decided", "undecided", "empty")
LanguageScores = Mapping[str, Mapping[str, Mapping[str, Any]]]


def summarise(
    models: Sequence[str], predictions: Mapping[str, Mapping[str, Mapping[str, Sequence[Prediction]]]]
) -> dict[str, Any]:
    """Scores of all benchmarks.

    Args:
        models: names, in the order of the pipeline.
        predictions: benchmark -> language -> model -> predictions.
    """
    return {
        "models": list(models),
        "benchmarks": {name: _benchmark(name, models, rows) for name, rows in predictions.items()},
    }


def _benchmark(
    name: str, models: Sequence[str], rows: Mapping[str, Mapping[str, Sequence[Prediction]]]
) -> dict[str, Any]:
    metrics, score = _BENCHMARKS[name]
    languages = {code: {model: score(rows[code][model]) for model in models} for code in sorted(rows)}
    return {
        "metrics": metrics,
        "languages": languages,
        "summary": {
            model: {metric: _over_languages(languages, model, metric) for metric in metrics} for model in models
        },
        "comparisons": [
            comparison
            for a, b in combinations(models, 2)
            for metric, about in metrics.items()
            if (comparison := _compare(languages, a, b, metric, about["higher_is_better"]))
        ],
    }


def _over_languages(languages: LanguageScores, model: str, metric: str) -> dict[str, Any]:
    rows = [row[model] for row in languages.values()]
    values = [row[metric] for row in rows if row[metric] is not None]
    result: dict[str, Any] = {"n_languages": len(values), "n": sum(row["n"] for row in rows)}
    if values:
        low, high = interval(values)
        result |= {"mean": mean(values), "low": low, "high": high}
    else:
        result |= {"mean": None, "low": None, "high": None}
    if metric == "off_target":
        result |= {key: sum(row[key] for row in rows) for key in _COUNTS}
        result["democratization"] = None  # of a rate that should be 0, mean over best says nothing
    else:
        result["democratization"] = democratization(values)
    return result


def _compare(languages: LanguageScores, a: str, b: str, metric: str, higher_is_better: bool) -> dict[str, Any] | None:
    both = [
        (row[a][metric], row[b][metric])
        for row in languages.values()
        if row[a][metric] is not None and row[b][metric] is not None
    ]
    if not both:
        return None
    result = compare([x for x, _ in both], [y for _, y in both], higher_is_better=higher_is_better)
    return {"a": a, "b": b, "metric": metric, **asdict(result)}
