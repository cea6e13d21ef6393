"""From `evaluation/scores.json` to plain values; a file that holds something else is named with what makes it again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xllms.errors import InputError, visible
from xllms.manifest import read_json
from xllms.report.data import (
    GROUPS,
    Benchmark,
    Change,
    Comparison,
    GroupMean,
    Mean,
    Metric,
    Scores,
    Within,
    count,
    number,
)
from xllms.report.tally import read_tallies


def read_scores(run: Path) -> Scores:
    """Read `evaluation/scores.json` of a run folder.

    Raises:
        InputError: no scores, or a file that does not hold scores; each says which command makes it.
    """
    path = run / "evaluation" / "scores.json"
    if not path.is_file():
        raise InputError(f"{path}: there are no scores to report; run `xllms evaluate RECIPE` first")
    return parse_scores(read_json(path), str(path))


def parse_scores(value: Any, path: str) -> Scores:
    """What a `scores.json` holds; `path` is what an error names.

    Raises:
        InputError: these are no scores.
    """
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
        key: Metric(key, visible(str(part["label"])), bool(part["higher_is_better"]), float(part["scale"]))
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
    there = tuple(model for model in models if model in summary) or models
    tests = _tests(value, metrics)
    judged = read_tallies(value.get("judge"))
    return Benchmark(name, there, tuple(metrics.values()), languages, summary, tuple(comparisons), tests, judged)


def _tests(value: Mapping[str, Any], metrics: Mapping[str, Metric]) -> tuple[Within, ...]:
    return tuple(
        _within(pair, metrics[key], {code: _change(test) for code, test in by_language.items()})
        for pair, by_metric in (value.get("tests") or {}).items()
        for key, by_language in by_metric.items()
        if key in metrics
    )


def _within(pair: str, metric: Metric, changes: Mapping[str, Change]) -> Within:
    a, _, b = pair.partition("|")
    sure = sorted((change.p, code) for code, change in changes.items() if change.sure)
    gains = {code: metric.gain(0, changes[code].difference) for _, code in sure}
    better = tuple(code for code, gain in gains.items() if gain > 0)
    worse = tuple(code for code, gain in gains.items() if gain < 0)
    return Within(a, b, metric, better, worse, changes)


def _change(test: Mapping[str, Any]) -> Change:
    return Change(float(test["difference"]), number(test.get("low")), number(test.get("high")), float(test["p_holm"]))


def _mean(value: Mapping[str, Any]) -> Mean:
    return Mean(
        mean=number(value.get("mean")),
        low=number(value.get("low")),
        high=number(value.get("high")),
        democratization=number(value.get("democratization")),
        n_languages=count(value.get("n_languages")),
        n=count(value.get("n")),
        decided=count(value.get("decided")),
        undecided=count(value.get("undecided")),
        empty=count(value.get("empty")),
        deviation=number(value.get("deviation")),
        worst=number(value.get("worst")),
        best=number(value.get("best")),
        groups={group: _group(value["groups"][group]) for group in GROUPS if group in (value.get("groups") or {})},
    )


def _group(members: Mapping[str, Any]) -> dict[str, GroupMean]:
    known = {"unknown" if name in ("None", "") else name: one for name, one in members.items()}
    return {name: GroupMean(number(one["mean"]), int(one["n_languages"])) for name, one in known.items()}


def _comparison(value: Mapping[str, Any], metric: Metric) -> Comparison:
    return Comparison(
        a=str(value["a"]),
        b=str(value["b"]),
        metric=metric,
        difference=number(value.get("difference")),
        low=number(value.get("low")),
        high=number(value.get("high")),
        p=number(value.get("p")),
        wins=int(value.get("wins") or 0),
        ties=int(value.get("ties") or 0),
        losses=int(value.get("losses") or 0),
    )
