"""From predictions to `scores.json`: every figure per language with its count and interval, then the few over all.

What is compared is compared twice: over languages (is the mean another one?), and within each language over its items,
with Holm's correction, since among a hundred languages five differ by chance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from xllms.evaluation.benchmark import Benchmark, Metric
from xllms.evaluation.judging import metrics_of, statistics_of
from xllms.languages import Language, UnknownLanguage, get
from xllms.metrics.across_languages import compare, democratization, interval, mean, spread
from xllms.metrics.item_statistics import ItemStatistics, counted, paired, value
from xllms.metrics.item_statistics import interval as item_interval
from xllms.metrics.many_tests import holm
from xllms.records import Prediction

Cells = Mapping[str, Mapping[str, Sequence[Prediction]]]  # task -> model -> predictions
Measured = Mapping[str, Mapping[str, Mapping[str, ItemStatistics]]]  # task -> model -> metric
_FAULTS = ("refused", "truncated")  # by the engine, as too long; on the left, for the model's context
_COUNTS = ("decided", "undecided", "empty")
_GROUPS = ("resource", "script", "family")


def summarise(models: Sequence[str], tables: Mapping[str, tuple[Benchmark, Cells]]) -> dict[str, Any]:
    """Scores of all tables.

    Args:
        models: names, in the order of the pipeline.
        tables: name -> its benchmark, and task -> model -> predictions. A model may be missing from a table.
    """
    return {
        "models": list(models),
        "benchmarks": {name: _table(benchmark, models, cells) for name, (benchmark, cells) in tables.items()},
    }


def _table(benchmark: Benchmark, models: Sequence[str], cells: Cells) -> dict[str, Any]:
    measured = {
        key: {model: statistics_of(benchmark, found) for model, found in cells[key].items()} for key in sorted(cells)
    }
    seen = {name for by_model in measured.values() for found in by_model.values() for name in found}
    metrics = {name: metric for name, metric in metrics_of(benchmark).items() if name in seen}
    there = [model for model in models if any(model in by_model for by_model in measured.values())]
    languages = {
        key: {
            model: _cell(cells[key][model], measured[key][model], metrics) for model in there if model in measured[key]
        }
        for key in measured
    }
    pairs = list(combinations(there, 2))
    return {
        "metrics": {name: asdict(metric) for name, metric in metrics.items()},
        "languages": languages,
        "summary": {
            model: {name: _over(languages, model, name, metric) for name, metric in metrics.items()} for model in there
        },
        "comparisons": [
            comparison
            for a, b in pairs
            for name, metric in metrics.items()
            if (comparison := _compare(languages, a, b, name, metric))
        ],
        "tests": {
            f"{a}|{b}": {
                name: found for name, metric in metrics.items() if (found := tests(measured, a, b, name, metric.scale))
            }
            for a, b in pairs
        },
    }


def _cell(
    predictions: Sequence[Prediction], measured: Mapping[str, ItemStatistics], metrics: Mapping[str, Metric]
) -> dict[str, Any]:
    """One language's figures of one model; `counted` holds how many items a metric is of where that is not all."""
    cell: dict[str, Any] = {"n": len(predictions)}
    intervals: dict[str, Any] = {}
    for name, statistics in measured.items():
        top = metrics[name].scale if name in metrics else None
        cell[name] = _said(value(statistics))
        intervals[name] = [_said(end) for end in item_interval(statistics, top=top)]
    cell["intervals"] = intervals
    if some := {name: n for name, one in measured.items() if (n := counted(one)) != len(predictions)}:
        cell["counted"] = some
    verdicts = [p.verdict for p in predictions]
    if any(verdicts):
        cell |= {
            "decided": verdicts.count("right") + verdicts.count("wrong"),
            "undecided": verdicts.count("undecided"),
            "empty": verdicts.count("empty"),
        }
    cell["unparsed"] = sum(p.parsed is None for p in predictions)
    faults = {name: sum(p.scores.get(name, 0) > 0 for p in predictions) for name in _FAULTS}
    return cell | {name: count for name, count in faults.items() if count}


def _said(number: float) -> float | None:
    """None where a metric says nothing, such as a rate of which nothing could be decided: JSON knows no NaN."""
    return None if math.isnan(number) else number


def _over(languages: Mapping[str, Any], model: str, name: str, metric: Metric) -> dict[str, Any]:
    """One metric of one model over the languages in which it has a value."""
    rows = {key: row[model] for key, row in languages.items() if model in row and row[model].get(name) is not None}
    values = {key: row[name] for key, row in rows.items()}
    items = sum(row.get("counted", {}).get(name, row["n"]) for row in rows.values())
    result: dict[str, Any] = {"n_languages": len(values), "n": items}
    if not values:
        return result | {"mean": None, "low": None, "high": None, "democratization": None}
    scores = list(values.values())
    low, high = interval(scores) or (None, None)
    apart = spread(scores, higher_is_better=metric.higher_is_better)
    result |= {"mean": mean(scores), "low": low, "high": high, **asdict(apart)}
    if name == "off_target":
        result |= {count: sum(row.get(count, 0) for row in rows.values()) for count in _COUNTS}
    # Of a rate that should be 0, mean over best says nothing.
    result["democratization"] = democratization(scores) if metric.higher_is_better else None
    return result | {"groups": _groups(values)}


def _groups(values: Mapping[str, float]) -> dict[str, dict[str, dict[str, float]]]:
    """Means by resource class, script and family."""
    found: dict[str, dict[str, list[float]]] = {group: {} for group in _GROUPS}
    for key, score in values.items():
        language = _subject(key)
        for group in _GROUPS if language else ():
            found[group].setdefault(str(getattr(language, group)), []).append(score)
    return {
        group: {name: {"mean": mean(some), "n_languages": len(some)} for name, some in sorted(by_name.items())}
        for group, by_name in found.items()
    }


def _subject(key: str) -> Language | None:
    """The language that a row is about; of a pair, the one that is translated into."""
    try:
        return get(key.rpartition("-")[2])
    except UnknownLanguage:  # a benchmark of somebody's own may have other rows
        return None


def _compare(languages: Mapping[str, Any], a: str, b: str, name: str, metric: Metric) -> dict[str, Any] | None:
    both = [
        (row[a][name], row[b][name])
        for row in languages.values()
        if a in row and b in row and row[a].get(name) is not None and row[b].get(name) is not None
    ]
    if not both:
        return None
    result = compare([x for x, _ in both], [y for _, y in both], higher_is_better=metric.higher_is_better)
    return {"a": a, "b": b, "metric": name, **asdict(result)}


def tests(
    measured: Measured, a: str, b: str, name: str, top: float | None = None
) -> dict[str, dict[str, float | None]]:
    """Paired tests of one metric within each language, p corrected over the languages.

    Args:
        measured: task -> model -> metric -> statistics, over the same items.
        a: the model before.
        b: the model after; the difference is b - a.
        name: of the metric.
        top: the metric lies between 0 and this.
    """
    found = {
        key: paired(by_model[a][name], by_model[b][name], top=top)
        for key, by_model in measured.items()
        if name in by_model.get(a, {}) and name in by_model.get(b, {})
    }
    tested = {key: test for key, test in found.items() if not math.isnan(test.difference)}
    adjusted = holm([test.p for test in tested.values()])
    return {
        key: {
            "difference": test.difference,
            "low": _said(test.low),
            "high": _said(test.high),
            "p": test.p,
            "p_holm": corrected,
        }
        for (key, test), corrected in zip(tested.items(), adjusted, strict=True)
    }
