"""The report: one HTML file that holds all it shows, so that it can be mailed, archived and read offline."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from xllms import __version__
from xllms.errors import visible
from xllms.manifest import write_atomic
from xllms.report import heatmap, summary
from xllms.report.charts import dot_strip, line_chart
from xllms.report.curves import Curve, TrainingLog, read_log
from xllms.report.data import Benchmark, Scores, model_label
from xllms.report.failures import find_failures
from xllms.report.links import prediction_file, prediction_folder
from xllms.report.reading import read_scores
from xllms.report.samples import allowance, read_preferences, read_samples
from xllms.report.script import describe, script_name
from xllms.report.stages import duration, read_making

_TEMPLATES = Path(__file__).parent / "templates"
_TRAINED = ("sft", "dpo")
_UNITS = {
    "loss": "loss, nats per token",
    "margin": "reward margin, nats",
    "accuracy": "accuracy, share of pairs",
}


def build(run: Path) -> Path:
    """Write `run/report/report.html` from what the run's stages left, and say where it is.

    A section whose files are absent says so instead. The same run gives the same bytes.

    Raises:
        InputError: the run has no scores (says which command makes them), or a file in it is broken.
    """
    path = run / "report" / "report.html"
    write_atomic(path, render(run))
    return path


def render(run: Path) -> str:
    """The page's HTML."""
    return _environment().get_template("report.html.j2").render(_context(run, read_scores(run)))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Names come from files too: nothing that reorders or hides what stands around it reaches the page.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters.update(
        model=model_label,
        language=describe,
        duration=duration,
        count=summary.count,
        sentence=summary.comparison_sentence,
    )
    environment.globals.update(
        interval=summary.interval,
        decided_counts=summary.decided_counts,
        spread=summary.spread,
        score_interval=summary.score_interval,
        agreement=summary.agreement,
        groups=heatmap.groups,
        script_name=script_name,
        prediction_file=prediction_file,
        prediction_folder=prediction_folder,
    )
    return environment


def _context(run: Path, scores: Scores) -> dict[str, Any]:
    css, js = _asset("report.css"), _asset("report.js")
    benchmarks = scores.benchmarks
    languages = heatmap.languages_of(benchmarks)
    allowed = allowance(benchmarks)
    return {
        "run": run.resolve().name,
        "version": __version__,
        "css": Markup(css),
        "js": Markup(js),
        "policy": content_security_policy(css, js),
        "models": scores.models,
        "benchmarks": benchmarks,
        "languages": languages,
        "matrix": heatmap.matrix(benchmarks, languages) if len(benchmarks) > 1 else [],
        "switch": heatmap.switch_data(benchmarks, scores.models),
        "rows": _rows(benchmarks),
        "ordered": {benchmark.name: _ordered_chart(benchmark) for benchmark in benchmarks},
        "failures": {benchmark.name: find_failures(benchmark) for benchmark in benchmarks},
        "samples": {b.name: read_samples(run, b, allowed) for b in benchmarks},
        "allowed": allowed,
        # `xllms compare` calls its models RUN:MODEL, and there is nothing else in its folder.
        "comparison": all(":" in model for model in scores.models),
        "tested": any(benchmark.tests for benchmark in benchmarks),
        "judged": any(benchmark.judged for benchmark in benchmarks),
        "preferences": read_preferences(run),
        "curves": {stage: _charts(log) if (log := read_log(run, stage)) else [] for stage in _TRAINED},
        "making": read_making(run),
    }


def _rows(benchmarks: Sequence[Benchmark]) -> dict[str, int]:
    """Number of the first table that has a language: where a link to its row leads."""
    return {code: number for number, b in reversed(list(enumerate(benchmarks, 1))) for code in b.languages}


def content_security_policy(css: str, js: str) -> str:
    """Nothing is loaded, and no style or script runs but the page's own two, known by their hashes."""
    return (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _ordered_chart(benchmark: Benchmark) -> Markup | None:
    """Each model's languages from best to worst: a mean hides the tail, this shows it."""
    metric = benchmark.primary
    factor = 100.0 if metric.scale == 1 else 1.0
    curves = []
    for model in benchmark.models:
        scores = [benchmark.score(code, model, metric) for code in benchmark.languages]
        ordered = sorted((s for s in scores if s is not None), reverse=metric.higher_is_better)
        points = tuple((float(rank), value * factor) for rank, value in enumerate(ordered, 1))
        if points:
            curves.append(Curve(model_label(model), points))
    if not curves:
        return None
    title = f"{metric.label}, each model's languages from best to worst"
    return line_chart(title, "rank of the language", metric.heading, curves)


def _charts(log: TrainingLog) -> list[Markup]:
    name = model_label(log.stage)
    charts = [
        line_chart(f"{name}: {quantity}", "optimiser step", _unit(log.stage, quantity), curves)
        for quantity, curves in log.curves.items()
    ]
    if log.final_losses:
        infos = [describe(code) for code in log.final_losses]
        by_class = {
            resource: [(info.name, log.final_losses[info.code]) for info in members]
            for resource, members in heatmap.groups(infos, "resource")
        }
        title = f"{name}: validation loss by language, step {log.final_step}"
        charts.append(dot_strip(title, _unit(log.stage, "loss"), by_class))
    return charts


def _unit(stage: str, quantity: str) -> str:
    return "loss, nats per pair" if (stage, quantity) == ("dpo", "loss") else _UNITS[quantity]
