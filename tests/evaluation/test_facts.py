"""Scores of the held-out facts: what is right, wrong, undecided and empty is counted apart."""

from xllms.evaluation import facts
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
        reference=reference,
        correct=output == reference,
        verdict=verdict,
    )


def test_the_off_target_rate_is_over_what_could_be_judged() -> None:
    rows = [
        prediction("Frankreich", "Frankreich", "right"),
        prediction("France", "Frankreich", "wrong"),
        prediction("Peru", "Peru", "undecided"),
        prediction("", "Chile", "empty"),
    ]
    score = facts.score(rows)
    assert score["off_target"] == 0.5
    assert (score["n"], score["decided"], score["undecided"], score["empty"]) == (4, 2, 1, 1)
    assert score["exact_match"] == 0.5


def test_a_language_of_which_nothing_can_be_judged_has_no_rate_and_does_not_count_as_zero() -> None:
    rows = {
        "deu_Latn": {"m": [prediction("France", "Frankreich", "wrong")]},
        "swh_Latn": {"m": [prediction("Peru", "Peru", "undecided", "swh_Latn")]},
    }
    scores = summarise(["m"], {"facts": rows})["benchmarks"]["facts"]
    assert scores["languages"]["swh_Latn"]["m"]["off_target"] is None
    summary = scores["summary"]["m"]
    assert (summary["off_target"]["mean"], summary["off_target"]["n_languages"]) == (1.0, 1)
    assert (summary["off_target"]["decided"], summary["off_target"]["undecided"]) == (1, 1)
    assert summary["chrf"]["n_languages"] == 2


def test_democratization_stands_beside_the_mean_and_comparisons_are_paired() -> None:
    rows = {
        code: {
            "base": [prediction("x", "Frankreich", "undecided", code, "base")],
            "sft": [prediction(answer, "Frankreich", "right", code, "sft")],
        }
        for code, answer in (("deu_Latn", "Frankreich"), ("nld_Latn", "Frankrijk"))
    }
    scores = summarise(["base", "sft"], {"facts": rows})["benchmarks"]["facts"]
    chrf = scores["summary"]["sft"]["chrf"]
    each = [scores["languages"][code]["sft"]["chrf"] for code in rows]
    assert chrf["democratization"] == chrf["mean"] / max(each)
    comparison = next(c for c in scores["comparisons"] if c["metric"] == "chrf")
    assert (comparison["a"], comparison["b"], comparison["wins"], comparison["losses"]) == ("base", "sft", 2, 0)
