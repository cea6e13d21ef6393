"""Benchmark `facts`: what the instruction data held out, answered greedily; chrF++, exact match, off-target rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from xllms.engines.local import LocalEngine
from xllms.engines.protocol import Sampling
from xllms.languages import get
from xllms.languages.identification import identify
from xllms.metrics.text import chrf, exact_match
from xllms.records import Instruction, Prediction

METRICS: dict[str, dict[str, Any]] = {
    "chrf": {"label": "chrF++", "higher_is_better": True, "scale": 100},
    "exact_match": {"label": "Exact match", "higher_is_better": True, "scale": 1},
    "off_target": {"label": "Off-target rate", "higher_is_better": False, "scale": 1},
}


def predict(
    engine: LocalEngine, model: str, items: Mapping[str, Sequence[Instruction]], max_new_tokens: int
) -> dict[str, list[Prediction]]:
    """Answers of one model to the items of some languages, read side by side.

    Args:
        engine: writes the answers.
        model: its name in the report.
        items: FLORES code -> items.
        max_new_tokens: where an answer is cut off.
    """
    records = [record for code in items for record in items[code]]
    answers: dict[str, str] = {}
    for one_line in (True, False):
        part = [record for record in records if record.one_line is one_line]
        texts = engine.answer([(r.instruction, r.input) for r in part], max_new_tokens, Sampling(one_line=one_line))
        answers |= {record.id: text for record, text in zip(part, texts, strict=True)}
    return {code: [_prediction(record, model, answers[record.id]) for record in items[code]] for code in items}


def score(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """One language's figures, each with the count behind it; off-target is None where no answer could be judged."""
    verdicts = [p.verdict for p in predictions]
    wrong, right = verdicts.count("wrong"), verdicts.count("right")
    return {
        "n": len(predictions),
        "chrf": chrf([p.output for p in predictions], [p.reference for p in predictions]),
        "exact_match": sum(p.correct for p in predictions) / len(predictions),
        "off_target": wrong / (wrong + right) if wrong + right else None,
        "decided": wrong + right,
        "undecided": verdicts.count("undecided"),
        "empty": verdicts.count("empty"),
    }


def _prediction(record: Instruction, model: str, output: str) -> Prediction:
    verdict = identify(output, get(record.language))
    correct = exact_match(output, record.output)
    return Prediction(
        id=record.id,
        benchmark="facts",
        model=model,
        language=record.language,
        kind=record.kind,
        prompt=f"{record.instruction}\n{record.input}".strip(),
        output=output,
        reference=record.output,
        correct=correct,
        # The reference itself is in the language, whatever an identifier makes of a short name.
        verdict="right" if correct and verdict.status == "wrong" else verdict.status,
        found_language=verdict.found,
        scores={"chrf": round(chrf([output], [record.output]), 2)},
    )
