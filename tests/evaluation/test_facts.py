"""Scores of the held-out facts: what is right, wrong, undecided and empty is counted apart."""

from typing import Any

import pytest

from xllms.evaluation.benchmarks import facts
from xllms.evaluation.scores import summarise
from xllms.records import Prediction


def prediction(output: str, reference: str, verdict: str, language: str = "deu_Latn", model: str = "m") -> Prediction:
    return Prediction(
        id=f"{language}:{output}",
        benchmark="facts",
        model=model,
        language=language,
        prompt="?",
        output=output,
        parsed=output or None,
        reference=reference,
        correct=output == reference,
        verdict=verdict,
    )


def scores(models: list[str], rows: dict[str, dict[str, list[Prediction]]]) -> dict[str, Any]:
    table: dict[str, Any] = summarise(models, {"facts": (facts.benchmark, rows)})["benchmarks"]["facts"]
    return table


def test_the_off_target_rate_is_over_what_could_be_judged() -> None:
    rows = [
        prediction("Frankreich", "Frankreich", "right"),
        prediction("France", "Frankreich", "wrong"),
        prediction("Peru", "Peru", "undecided"),
        prediction("", "Chile", "empty"),
    ]
    cell = scores(["m"], {"deu_Latn": {"m": rows}})["languages"]["deu_Latn"]["m"]
    assert cell["off_target"] == 0.5
    assert (cell["n"], cell["decided"], cell["undecided"], cell["empty"], cell["unparsed"]) == (4, 2, 1, 1, 1)
    assert cell["exact_match"] == 0.5
    low, high = cell["intervals"]["exact_match"]
    assert low < 0.5 < high


def test_a_language_of_which_nothing_can_be_judged_has_no_rate_and_does_not_count_as_zero() -> None:
    rows = {
        "deu_Latn": {"m": [prediction("France", "Frankreich", "wrong")]},
        "swh_Latn": {"m": [prediction("Peru", "Peru", "undecided", "swh_Latn")]},
    }
    found = scores(["m"], rows)
    assert found["languages"]["swh_Latn"]["m"]["off_target"] is None
    summary = found["summary"]["m"]
    assert (summary["off_target"]["mean"], summary["off_target"]["n_languages"]) == (1.0, 1)
    assert (summary["off_target"]["decided"], summary["off_target"]["undecided"]) == (1, 0)
    assert summary["off_target"]["n"] == 1
    assert (summary["chrf"]["n_languages"], summary["chrf"]["n"]) == (2, 2)


def test_democratization_stands_beside_the_mean_and_comparisons_are_paired() -> None:
    rows = {
        code: {
            "base": [prediction("x", "Frankreich", "undecided", code, "base")],
            "sft": [prediction(answer, "Frankreich", "right", code, "sft")],
        }
        for code, answer in (("deu_Latn", "Frankreich"), ("nld_Latn", "Frankrijk"))
    }
    found = scores(["base", "sft"], rows)
    chrf = found["summary"]["sft"]["chrf"]
    each = [found["languages"][code]["sft"]["chrf"] for code in rows]
    assert chrf["democratization"] == chrf["mean"] / max(each)
    assert chrf["worst"] == min(each)
    assert chrf["groups"]["family"]["Indo-European"] == {"mean": chrf["mean"], "n_languages": 2}
    comparison = next(c for c in found["comparisons"] if c["metric"] == "chrf")
    assert (comparison["a"], comparison["b"], comparison["wins"], comparison["losses"]) == ("base", "sft", 2, 0)


def test_a_hundred_languages_that_differ_by_chance_are_not_called_different() -> None:
    """Each language is tested over its items; without correction some five of a hundred would be."""
    import random

    draw = random.Random(1)
    rows = {}
    for code in facts_codes(60):
        answers = {
            model: [
                prediction("ja" if draw.random() < 0.5 else "nein", "ja", "right", code, model).model_copy(
                    update={"id": f"{code}:{number}"}
                )
                for number in range(40)
            ]
            for model in ("base", "sft")
        }
        rows[code] = answers
    # One language that is really better.
    rows["swh_Latn"] = {
        model: [
            prediction(answer, "ja", "right", "swh_Latn", model).model_copy(update={"id": f"swh:{number}"})
            for number in range(40)
        ]
        for model, answer in (("base", "nein"), ("sft", "ja"))
    }
    tests = scores(["base", "sft"], rows)["tests"]["base|sft"]["exact_match"]
    assert sum(test["p"] < 0.05 for test in tests.values()) >= 1
    sure = [code for code, test in tests.items() if test["p_holm"] < 0.05]
    assert sure == ["swh_Latn"]
    assert tests["swh_Latn"]["difference"] == pytest.approx(1.0)


def facts_codes(count: int) -> list[str]:
    from xllms.languages import group

    return [language.code for language in group("hundred") if language.code != "swh_Latn"][:count]
