"""The plain-text table that `xllms run` ends with: every model and metric, and the languages at both ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xllms.report.data import (
    ABSENT,
    SURE,
    Benchmark,
    Comparison,
    Mean,
    Metric,
    Scores,
    Within,
    model_label,
)
from xllms.report.failures import Failure, ranked
from xllms.report.reading import parse_scores, read_scores
from xllms.report.script import describe
from xllms.report.tally import Tally

EXTREMES = 5
_HEADER = ("metric", "model", "mean", "95% interval", "democr.", "languages", "n")
_PAIRED = ("paired", "models", "change", "95% interval", "p", "better", "equal", "worse", "")
_JUDGED = ("judge", "models", "n", "won", "tied", "lost", "no verdict", "orders agree", "")
_LEFT_ALIGNED = 2


def summary_table(run: Path) -> str:
    """Before and after, as text of at most some 90 columns.

    Raises:
        InputError: the run has no scores; says which command makes them.
    """
    return _table(read_scores(run))


def scores_table(value: Mapping[str, Any]) -> str:
    """The same of scores in memory, such as those of a comparison."""
    return _table(parse_scores(value, "scores"))


def _table(scores: Scores) -> str:
    return "\n".join(line for benchmark in scores.benchmarks for line in _benchmark(benchmark))


def comparison_sentence(comparison: Comparison) -> str:
    """One paired comparison in words, with its interval, its test and how many languages went which way."""
    c = comparison
    if c.difference is None:
        return f"{c.metric.label}: {model_label(c.b)} and {model_label(c.a)} could not be compared."
    show = c.metric.show_difference
    unit = " points" if c.metric.scale == 1 else ""
    ends = "" if c.low is None or c.high is None else f"95% interval {show(c.low)} to {show(c.high)}, "
    return (
        f"{c.metric.label}: {model_label(c.b)} against {model_label(c.a)} "
        f"{show(c.difference)}{unit}, {verdict(c)} ({ends}{p_value(c.p)}); "
        f"better in {c.wins}, equal in {c.ties}, worse in {c.losses} of {c.languages} languages."
    )


def verdict(comparison: Comparison) -> str:
    """Better or worse only where both the interval and the test leave no doubt about the direction."""
    c = comparison
    if c.difference is not None and (c.low is None or c.high is None):
        return "too few languages to tell"
    if c.difference is None or c.low is None or c.high is None or c.low <= 0 <= c.high or c.p is None or c.p >= SURE:
        return "no clear difference"
    return "better" if c.metric.gain(0, c.difference) > 0 else "worse"


def p_value(p: float | None) -> str:
    """A p-value as papers write it."""
    if p is None:
        return "p not computed"
    return "p\u00a0<\u00a00.0001" if p < 0.0001 else f"p\u00a0=\u00a0{p:.4f}"


def interval(metric: Metric, mean: Mean) -> str:
    """The 95% interval of a mean."""
    if mean.low is None or mean.high is None:
        return ABSENT
    return f"{metric.show(mean.low)} to {metric.show(mean.high)}"


def spread(benchmark: Benchmark, model: str, metric: Metric, mean: Mean) -> list[str]:
    """How far the languages lie apart, with the worst and the best named, a line each; none where not measured."""
    ends = benchmark.extremes(model, metric)
    if mean.deviation is None or ends is None:
        return []
    worst, best = (describe(code).name for code in ends)
    return [
        f"spread {metric.show(mean.deviation)}",
        f"worst {metric.show(mean.worst)}, {worst}",
        f"best {metric.show(mean.best)}, {best}",
    ]


def score_interval(benchmark: Benchmark, code: str, model: str, metric: Metric) -> str:
    """The 95% interval of one language's score, as it stands under it; empty where there is none."""
    ends = benchmark.bounds_of(code, model, metric)
    return "" if ends is None else "–".join(map(metric.show, ends))


def decided_counts(mean: Mean) -> str:
    """The counts behind an off-target rate; empty where there are none."""
    names = (("decided", mean.decided), ("undecided", mean.undecided), ("empty", mean.empty))
    return ", ".join(f"{count:,} {name}" for name, count in names if count is not None)


def count(value: int | None) -> str:
    """A count with its thousands marked."""
    return ABSENT if value is None else f"{value:,}"


def _benchmark(benchmark: Benchmark) -> list[str]:
    rows = [
        _row(metric, model, mean, first=model == benchmark.models[0])
        for metric in benchmark.metrics
        for model in benchmark.models
        if (mean := benchmark.summary.get(model, {}).get(metric.key)) is not None
    ]
    paired = [_paired(comparison) for comparison in benchmark.comparisons]
    return [
        f"{benchmark.name}: {len(benchmark.languages)} languages, means over languages",
        "",
        *_aligned([_HEADER, *rows]),
        "",
        *([*_aligned([_PAIRED, *paired]), ""] if paired else []),
        *_judged(benchmark),
        *_all_within(benchmark.tests),
        *_faults(benchmark),
        *_extremes(benchmark),
        "",
    ]


def _row(metric: Metric, model: str, mean: Mean, *, first: bool) -> tuple[str, ...]:
    democratization = ABSENT if mean.democratization is None else f"{mean.democratization:.2f}"
    numbers = (metric.show(mean.mean), interval(metric, mean), democratization)
    n = decided_counts(mean) if mean.decided is not None else count(mean.n)
    return (metric.heading if first else "", model, *numbers, count(mean.n_languages), n)


def _paired(c: Comparison) -> tuple[str, ...]:
    show = c.metric.show_difference
    bounds = ABSENT if c.low is None or c.high is None else f"{show(c.low)} to {show(c.high)}"
    counts = (str(c.wins), str(c.ties), str(c.losses))
    p = p_value(c.p).replace("\u00a0", " ").removeprefix("p ").removeprefix("= ")
    return (c.metric.heading, f"{c.a} → {c.b}", show(c.difference), bounds, p, *counts, verdict(c))


def _judged(benchmark: Benchmark) -> list[str]:
    """What stands behind the win rates: of all languages, then of each, or of those at both ends."""
    rows = []
    for model, total in benchmark.judged_in_all.items():
        against = f"{benchmark.baseline} → {model}" if benchmark.baseline else model
        rows.append(_tally(f"{len(_leading(benchmark, model)):,} languages", against, total))
        rows += [_tally(describe(code).name, against, one) for code, one in _ends(_leading(benchmark, model))]
    return [*_aligned([_JUDGED, *rows]), ""] if rows else []


def _leading(benchmark: Benchmark, model: str) -> list[tuple[str, Tally]]:
    """A model's languages, those that it wins most in first."""
    found = [(code, by_model[model]) for code, by_model in benchmark.judged.items() if model in by_model]
    return sorted(found, key=lambda pair: (-pair[1].lead, pair[0]))


def _ends(ordered: Sequence[tuple[str, Tally]]) -> Sequence[tuple[str, Tally]]:
    return ordered if len(ordered) <= 2 * EXTREMES else [*ordered[:EXTREMES], *ordered[-EXTREMES:]]


def _tally(what: str, models: str, one: Tally) -> tuple[str, ...]:
    counts = map(count, (one.judged, one.won, one.tied, one.lost, one.unparsed))
    return (what, models, *counts, agreement(one), f"of {one.asked:,} asked")


def agreement(one: Tally) -> str:
    """How often a judge's two orders say the same, in percent; a dash where it was asked nothing."""
    return ABSENT if one.agreement is None else f"{100 * one.agreement:.1f} %"


def _faults(benchmark: Benchmark) -> list[str]:
    """Items that a model could not be asked as they are."""
    found = {
        (model, fault): sum(benchmark.count(code, model, fault) or 0 for code in benchmark.languages)
        for model in benchmark.models
        for fault in ("refused", "truncated")
    }
    told = [f"{model} {count:,} {fault}" for (model, fault), count in found.items() if count]
    return [f"  items too long: {', '.join(told)}", ""] if told else []


def _all_within(tests: Sequence[Within]) -> list[str]:
    """Where any language moved for sure; with few items in each, none can."""
    if not tests:
        return []
    sure = [_within(test) for test in tests if test.better or test.worse]
    return [*(sure or ["  within a language, over its items (Holm): no difference is sure"]), ""]


def _within(test: Within) -> str:
    """How many languages moved for sure, and which."""
    named = [
        f"{word} in {len(codes)}" + (f" ({_names(codes)})" if codes else "")
        for word, codes in (("better", test.better), ("worse", test.worse))
    ]
    head = f"  {test.metric.heading}, {test.a} → {test.b}, sure within a language (Holm): "
    return f"{head}{', '.join(named)} of {test.tested}"


def _names(codes: Sequence[str]) -> str:
    more = ", ..." if len(codes) > EXTREMES else ""
    return ", ".join(describe(code).name for code in codes[:EXTREMES]) + more


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    last = len(rows[0]) - 1
    widths = [max(len(row[i]) for row in rows) for i in range(last)]
    lines = []
    for row in rows:
        cells = [row[i].ljust(widths[i]) if i < _LEFT_ALIGNED else row[i].rjust(widths[i]) for i in range(last)]
        lines.append("  " + "  ".join([*cells, row[last]]).rstrip())
    return lines


def _extremes(benchmark: Benchmark) -> list[str]:
    languages = ranked(benchmark)
    if not languages:
        return [f"  {benchmark.models[-1]} was scored in no language"]
    first, last = benchmark.models[0], benchmark.models[-1]
    against = f" (in brackets: {first})" if first != last else ""
    head = f"  {benchmark.primary.heading} of {last} by language{against}"
    if len(languages) <= 2 * EXTREMES:
        return [head, f"    all    {_listed(benchmark, languages)}"]
    best, worst = languages[:EXTREMES], languages[-EXTREMES:][::-1]
    return [head, f"    best   {_listed(benchmark, best)}", f"    worst  {_listed(benchmark, worst)}"]


def _listed(benchmark: Benchmark, languages: Sequence[Failure]) -> str:
    metric = benchmark.primary
    before = len(benchmark.models) > 1
    return ", ".join(
        f"{describe(f.code).name} {metric.show(f.after)}" + (f" ({metric.show(f.before)})" if before else "")
        for f in languages
    )
