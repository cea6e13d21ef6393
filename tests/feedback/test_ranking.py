"""Which answers are chosen and rejected, and that the language comes first; on CLDR's own facts."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from xllms.feedback import pairing
from xllms.feedback.candidates import Candidate, foreign_reference, judge, rank
from xllms.feedback.rejects import in_wrong_language, wrong_language
from xllms.instructions.cldr import cldr_records
from xllms.languages import get
from xllms.recipe import CldrSource
from xllms.recipe.feedback import PairingSettings
from xllms.records import Instruction, Preference, Ranking

GOOD = 100.0 - pairing.LEAD  # chrF++ from which a sample may be chosen in the reference's place
GAP = PairingSettings().min_margin  # chrF++ that the chosen answer must be ahead of a rejected sample
ORIGIN = "sample of the SFT model"
CODES = ("swh_Latn", "deu_Latn", "eng_Latn", "zho_Hans", "arb_Arab", "rus_Cyrl")
SOURCE = CldrSource(train=20, validation=0, feedback=0, evaluation=0)


def same_facts() -> list[dict[str, Instruction]]:
    """CLDR's facts that several languages tell: FLORES code -> record."""
    facts: dict[str, dict[str, Instruction]] = {}
    for code in CODES:
        for record in cldr_records(SOURCE, get(code), 0).records["train"]:
            facts.setdefault(record.parallel_id, {})[code] = record
    return [fact for fact in facts.values() if len(fact) > 1]


FACTS = same_facts()


def record(output: str = "Die Niederlande, Norwegen und Schweden", language: str = "deu_Latn") -> Instruction:
    return Instruction(
        id="a", instruction="Which countries?", output=output, language=language, source="cldr", parallel_id="a"
    )


def judged(*texts: str, to: Instruction | None = None) -> list[Candidate]:
    asked = to or record()
    return rank([judge(text, asked, get(asked.language), ORIGIN) for text in texts])


def pair(asked: Instruction, ranked: Sequence[Candidate], constructed: tuple[str, str] | None) -> list[Preference]:
    rejects = [in_wrong_language(*constructed)] if constructed else []
    return pairing.preferences(asked, ranked, reference(asked), rejects, PairingSettings())


def ranking(asked: Instruction, ranked: Sequence[Candidate], constructed: tuple[str, str] | None) -> list[Ranking]:
    rejects = [in_wrong_language(*constructed)] if constructed else []
    return pairing.rankings(asked, ranked, reference(asked), rejects, PairingSettings())


def reference(asked: Instruction) -> Candidate:
    return judge(asked.output, asked, get(asked.language), "reference")


def test_the_wrong_language_ranks_below_the_right_one_however_near() -> None:
    english = "The Netherlands, Norway and Sweden are what those countries would have been called"
    poor_german = "Ich weiß es nicht, aber es könnte vielleicht ein anderes Land gewesen sein"
    ranked = judged(english, poor_german, "")
    assert [c.text for c in ranked] == [poor_german, english, ""]
    assert [c.status for c in ranked] == ["right", "wrong", "empty"]
    assert ranked[1].chrf > ranked[0].chrf
    assert "language wrong (English)" in ranked[1].reason


def test_within_the_language_the_reference_decides() -> None:
    best, middle, worst = (
        record().output,
        "Die Niederlande, Norwegen und Finnland",
        "Die Schweiz, Frankreich und Österreich",
    )
    assert [c.text for c in judged(worst, best, middle)] == [best, middle, worst]


def test_what_equals_the_reference_is_in_the_language_whatever_an_identifier_says() -> None:
    (only,) = judged("Norway", to=record("Norway", "swh_Latn"))
    assert only.in_language


@given(st.permutations(["a", "b", "Norwegen", "Die Niederlande", ""]))
@settings(max_examples=10, deadline=None)
def test_the_order_of_samples_does_not_matter(texts: Sequence[str]) -> None:
    assert judged(*texts) == judged(*sorted(texts))


def test_the_reference_is_chosen_when_no_sample_is_good() -> None:
    pairs = pair(record(), judged("Die Schweiz", "Frankreich"), ("The Netherlands, Norway and Sweden", "eng_Latn"))
    assert [one.chosen for one in pairs] == [record().output] * 2
    assert pairs[0].chosen_reason.startswith("reference: the best sample reached chrF++")
    assert pairs[0].rejected_reason == "wrong language: the same fact in English"
    assert pairs[1].rejected == judged("Die Schweiz", "Frankreich")[-1].text
    assert pairs[1].rejected_reason.startswith(f"{ORIGIN}: chrF++ ")


def test_a_good_sample_is_chosen_over_the_reference() -> None:
    good = "Die Niederlande, Norwegen und Schweden."
    ranked = judged("Frankreich", good)
    assert ranked[0].chrf >= GOOD
    pairs = pair(record(), ranked, None)
    assert [(one.chosen, one.rejected) for one in pairs] == [(good, "Frankreich")]
    assert pairs[0].chosen_reason == ranked[0].reason
    assert "language right" in pairs[0].chosen_reason


def test_a_good_sample_in_another_language_is_not_chosen() -> None:
    (near,) = [Candidate("Die Niederlande, Norwegen und Schwedenland", ORIGIN, 95.0, "wrong", "nld_Latn")]
    pairs = pair(record(), [near], None)
    assert [(one.chosen, one.rejected) for one in pairs] == [(record().output, near.text)]
    assert "(Dutch)" in pairs[0].rejected_reason


def test_a_sample_near_the_chosen_one_is_not_rejected() -> None:
    first, second = (Candidate(text, ORIGIN, score, "right", "deu_Latn") for text, score in (("a", 99), ("b", 90)))
    assert first.chrf - GAP < second.chrf
    assert pair(record(), [first, second], None) == []
    assert pair(record(), [first], None) == []


def test_without_samples_the_constructed_answer_alone_is_rejected() -> None:
    (only,) = pair(record(), [], ("Norway", "eng_Latn"))
    assert (only.chosen, only.rejected) == (record().output, "Norway")
    assert only.chosen_reason == "reference: nothing was sampled"
    assert pair(record(), [], None) == []


def test_the_constructed_answer_is_the_same_fact_in_another_language() -> None:
    assert len(FACTS) > 10
    drawn = set()
    for fact in FACTS:
        for code, one in fact.items():
            made = wrong_language(one, fact, get(code), random.Random(0))
            if made is None:
                assert all(r.output.casefold() == one.output.casefold() for c, r in fact.items() if c != code)
                continue
            text, other = made
            assert other != code
            assert text == fact[other].output
            assert text.casefold() != one.output.casefold()
            drawn.add(other)
    assert len(drawn) > 2


def test_english_is_the_wrong_language_about_every_second_time() -> None:
    fact = next(fact for fact in FACTS if {"eng_Latn", "deu_Latn", "swh_Latn"} <= fact.keys())
    draw = random.Random(0)
    codes = [made[1] for _ in range(200) if (made := wrong_language(fact["deu_Latn"], fact, get("deu_Latn"), draw))]
    assert len(codes) == 200
    assert 70 < codes.count("eng_Latn") < 200
    assert set(codes) <= {"eng_Latn", "swh_Latn"}  # those of its script come first


def test_no_constructed_answer_where_all_languages_say_the_same() -> None:
    same = {"deu_Latn": record("Ghana"), "swh_Latn": record("GHANA", "swh_Latn")}
    assert wrong_language(same["deu_Latn"], same, get("deu_Latn"), random.Random(0)) is None
    assert wrong_language(same["deu_Latn"], {}, get("deu_Latn"), random.Random(0)) is None


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_no_pair_is_of_equal_answers_or_without_reasons(data: st.DataObject) -> None:
    fact = data.draw(st.sampled_from(FACTS))
    code = data.draw(st.sampled_from(sorted(fact)))
    one, language = fact[code], get(code)
    outputs = [other.output for other in fact.values()]
    texts = data.draw(st.lists(st.sampled_from([*outputs, *(f"{o}." for o in outputs), "", "?"]), unique=True))
    constructed = wrong_language(one, fact, language, random.Random(data.draw(st.integers(0, 5))))
    ranked = judged(*texts, to=one)
    pairs = pair(one, ranked, constructed)
    assert pairs or not constructed or constructed[0] == ranked[0].text
    assert len({made.id for made in pairs}) == len(pairs)
    for made in pairs:
        assert made.chosen != made.rejected
        assert made.rejected
        assert made.chosen_reason and made.rejected_reason
        assert (made.language, made.instruction) == (code, one.instruction)
        assert judge(made.chosen, one, language, ORIGIN).in_language
    assert len({made.rejected for made in pairs}) == len(pairs), "one answer rejected twice"


def test_a_ranking_is_right_then_right_elsewhere_then_wrong_then_wrong_elsewhere() -> None:
    english = "the Netherlands, Norway and Sweden"
    wrong = "Ich weiß es nicht, aber es könnte vielleicht ein anderes Land gewesen sein"
    wrong_english = "I do not know which countries those would have been called"
    (found,) = ranking(record(), judged(wrong_english, wrong, record().output), (english, "eng_Latn"))
    assert found.answers == (record().output, english, wrong, wrong_english)
    assert "wrong language: the same fact in English" in found.reasons[1]
    assert "language wrong (English)" in found.reasons[3]
    assert len(found.reasons) == 4
    # Only the reference is known, and nothing to set against it.
    assert ranking(record(), judged(record().output), None) == []


def test_no_name_of_cldr_is_called_foreign_and_a_translation_that_failed_is() -> None:
    facts = [one for fact in FACTS for one in fact.values()]
    assert len(facts) > 30
    assert not any(foreign_reference(one.model_copy(update={"source": "own"})) for one in facts)
    english = "The Netherlands, Norway and Sweden are what those countries would have been called"
    german = "Ich weiß es nicht, aber es könnte vielleicht ein anderes Land gewesen sein"
    own = record().model_copy(update={"source": "alpaca"})
    for output, changed, foreign in (
        (english, {}, True),
        (german, {}, False),
        ("Norway", {}, False),  # too short to be sure
        (english, {"source": "cldr"}, False),
        (english, {"response": "kept"}, False),
    ):
        assert foreign_reference(own.model_copy(update={"output": output, **changed})) is foreign
