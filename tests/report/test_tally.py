"""What a judge said, on the page and in the text table: per language, with n and how often its two orders agree."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import shared_data
from tests.engines.test_judging import RuleJudge, longer
from tests.report.test_report import Page, page_of, scores

from xllms.engines.protocol import Sampling, Usage, Written
from xllms.errors import InputError
from xllms.evaluation import stage
from xllms.evaluation.subjects import Subject
from xllms.recipe import EvaluationSettings
from xllms.report import build, summary_table
from xllms.report.tally import Tally, read_tallies, totals

NAMES = ("judged", "won", "tied", "lost", "unparsed", "orders_agree", "orders_disagree")


def tally(*counts: int) -> dict[str, int]:
    return dict(zip(NAMES, counts, strict=True))


def with_judge(run: Path, judge: Mapping[str, Any]) -> Path:
    value = scores()
    value["benchmarks"]["facts"]["judge"] = judge
    path = run / "evaluation" / "scores.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return run


JUDGED = {
    "arb_Arab": {"sft": tally(12, 6, 4, 2, 0, 9, 1), "dpo": tally(11, 9, 1, 1, 1, 8, 2)},
    "swh_Latn": {"sft": tally(10, 1, 2, 7, 2, 4, 5), "dpo": tally(12, 3, 9, 0, 0, 0, 0)},
}


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def judged_rows(page: Page) -> list[str]:
    """The rows of the judge's section, cells apart."""
    at = next(i for i, (tag, a, _) in enumerate(page.elements) if tag == "section" and a.get("id") == "judge")
    rows: list[list[str]] = []
    for tag, _, text in page.elements[at + 1 :]:
        if tag == "section":
            break
        if tag == "tr":
            rows.append([])
        elif tag in ("th", "td"):
            rows[-1].append(" ".join("".join(text).split()))
    return [" | ".join(cells) for cells in rows]


def test_the_page_shows_every_language_and_model_with_n_and_agreement(tmp_path: Path) -> None:
    html, page = page_of(with_judge(tmp_path / "run", JUDGED))
    assert 'href="#judge"' in html
    rows = judged_rows(page)
    assert "Language | Model | n | Won | Tied | Lost | No verdict | Orders agree" in rows
    assert "Arabic" in "".join(row for row in rows if row.startswith("Arabic"))
    assert "Swahili | SFT | 10 | 1 | 2 | 7 | 2 | 44.4 %/9" in rows
    assert "Swahili | DPO | 12 | 3 | 9 | 0 | 0 | –/0" in rows, "a judge that was asked nothing agrees with nothing"
    assert "SFT | 22 | 7 | 6 | 9 | 2 | 68.4 %/19" in rows
    assert "DPO | 23 | 12 | 10 | 1 | 1 | 80.0 %/10" in rows
    assert "facts, against Base" in "".join(text for _, text in page.find("section", id="judge"))


def test_the_text_table_does_too(tmp_path: Path) -> None:
    lines = squeezed(summary_table(with_judge(tmp_path / "run", JUDGED)))
    assert "judge models n won tied lost no verdict orders agree" in lines
    assert "2 languages base → sft 22 7 6 9 2 68.4 % of 19 asked" in lines
    assert "Arabic base → sft 12 6 4 2 0 90.0 % of 10 asked" in lines
    assert "Swahili base → dpo 12 3 9 0 0 – of 0 asked" in lines
    order = [line.split()[0] for line in lines if "base → sft" in line and "asked" in line]
    assert order == ["2", "Arabic", "Swahili"], "those that are won most come first"


def test_of_many_languages_the_text_shows_both_ends_and_the_page_all(tmp_path: Path) -> None:
    codes = ["deu", "fra", "spa", "por", "ita", "pol", "ces", "fin", "nld", "swe", "dan", "hun"]
    judge = {f"{code}_Latn": {"sft": tally(12, n, 0, 12 - n, 0, 12, 0)} for n, code in enumerate(codes)}
    value = scores()["benchmarks"]["facts"]["languages"]["swh_Latn"]
    run = with_judge(tmp_path / "run", judge)
    path = run / "evaluation" / "scores.json"
    whole = json.loads(path.read_text())
    whole["benchmarks"]["facts"]["languages"] |= dict.fromkeys(judge, value)
    path.write_text(json.dumps(whole))
    shown = [line.split()[0] for line in squeezed(summary_table(run)) if "of 12 asked" in line]
    assert shown == [
        *("Hungarian", "Danish", "Swedish", "Dutch", "Finnish"),
        *("Italian", "Portuguese", "Spanish", "French", "German"),
    ]
    _, page = page_of(run)
    assert sum(row.endswith("| 100.0 %/12") and "| SFT |" in row for row in judged_rows(page)) == 12


def test_without_a_judge_nothing_is_said_of_one(tmp_path: Path) -> None:
    for judge in ({}, {"arb_Arab": {}}):
        run = with_judge(tmp_path / "run", judge)
        html, page = page_of(run)
        assert not list(page.find("section", id="judge"))
        assert "#judge" not in html
        assert "orders agree" not in summary_table(run)


def test_a_tally_that_is_none_is_named_with_the_way_out(tmp_path: Path) -> None:
    run = with_judge(tmp_path / "run", {"arb_Arab": {"sft": {"judged": 3}}})
    with pytest.raises(InputError, match=r"scores\.json: does not hold scores .*run `xllms evaluate RECIPE --overwr"):
        build(run)


def test_totals_are_over_the_languages_that_a_model_was_judged_in() -> None:
    some = read_tallies({**JUDGED, "deu_Latn": {"sft": tally(5, 5, 0, 0, 0, 3, 2)}, "fra_Latn": {}})
    assert list(some) == ["arb_Arab", "swh_Latn", "deu_Latn"]
    assert totals(some)["dpo"] == Tally(23, 12, 10, 1, 1, 8, 2)
    assert totals(some)["sft"].judged == 27
    assert totals({}) == {}


class Says:
    """A model whose answers to the real tasks are of a known length."""

    name = "says"

    def __init__(self, answer: str) -> None:
        self.usage = Usage()
        self._answer = answer

    def write(
        self,
        prompts: Any,
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        return [Written(self._answer, True) for _ in prompts]


def test_what_the_stage_writes_is_what_the_page_and_the_table_show(tmp_path: Path) -> None:
    settings = EvaluationSettings.model_validate(
        {
            "languages": ["English"],
            "benchmarks": ["self_instruct"],
            "data": shared_data("self_instruct").parent,
            "limit": 12,
            "judge": {"engine": "rule"},
        }
    )
    answers = {"base": "Here.", "sft": "Here it is, and more.", "dpo": ""}
    subjects = [Subject(name, name, lambda text=text: Says(text)) for name, text in answers.items()]  # type: ignore[misc]
    run = tmp_path / "run"
    stage.run(settings, run, subjects, run / "evaluation", {}, RuleJudge(longer))
    lines = squeezed(summary_table(run))
    assert "1 languages base → sft 12 12 0 0 0 100.0 % of 12 asked" in lines
    assert "English base → dpo 12 0 0 12 0 – of 0 asked" in lines, "an empty answer loses without asking"
    rows = judged_rows(page_of(run)[1])
    assert "English | SFT | 12 | 12 | 0 | 0 | 0 | 100.0 %/12" in rows
    assert "English | DPO | 12 | 0 | 0 | 12 | 0 | –/0" in rows
