"""The report: one HTML file that holds all it shows, so that it can be mailed, archived and read offline."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from xllms import __version__
from xllms.manifest import write_atomic
from xllms.report import heatmap, summary
from xllms.report.charts import dot_strip, line_chart
from xllms.report.curves import Curve, TrainingLog, read_log
from xllms.report.data import Benchmark, Scores, model_label, read_scores
from xllms.report.failures import find_failures
from xllms.report.samples import PER_LANGUAGE, read_preferences, read_samples
from xllms.report.script import describe
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
    )
    environment.filters.update(
        model=model_label,
        language=describe,
        duration=duration,
        count=summary.count,
        sentence=summary.comparison_sentence,
    )
    environment.globals.update(interval=summary.interval, decided_counts=summary.decided_counts, groups=heatmap.groups)
    return environment


def _context(run: Path, scores: Scores) -> dict[str, Any]:
    css, js = _asset("report.css"), _asset("report.js")
    benchmarks = scores.benchmarks
    languages = heatmap.languages_of(benchmarks)
    return {
        "run": run.resolve().name,
        "version": __version__,
        "css": Markup(css),
        "js": Markup(js),
        "policy": content_security_policy(css, js),
        "models": scores.models,
        "benchmarks": benchmarks,
        "languages": languages,
        "switch": heatmap.switch_data(benchmarks),
        "ordered": {benchmark.name: _ordered_chart(benchmark) for benchmark in benchmarks},
        "failures": {benchmark.name: find_failures(benchmark) for benchmark in benchmarks},
        "samples": {b.name: read_samples(run, b.name, scores.models) for b in benchmarks},
        "samples_per_language": PER_LANGUAGE,
        "preferences": read_preferences(run),
        "curves": {stage: _charts(log) if (log := read_log(run, stage)) else [] for stage in _TRAINED},
        "making": read_making(run),
    }


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
