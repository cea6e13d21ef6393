"""Which ranked answers become preferences, whatever the candidates: the wrong language is never chosen."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.feedback.test_ranking import record
from xllms.feedback.candidates import Candidate, rank
from xllms.feedback.pairing import LEAD, preferences, rankings
from xllms.feedback.rejects import Reject
from xllms.recipe.feedback import PairingSettings

REFERENCE = Candidate(record().output, "reference", 100.0, "right", "deu_Latn")
ENGLISH = Reject("wrong_language", "Norway", "wrong language: the same fact in English", "eng_Latn")
SHORT = Reject("truncated", "Die Nie", "truncated: cut off (after 7 of 38 characters)")

texts = st.text("ab ", min_size=0, max_size=12)
candidates = st.lists(
    st.builds(
        Candidate,
        text=texts,
        origin=st.just("sample"),
        chrf=st.floats(0, 100),
        status=st.sampled_from(["right", "wrong", "undecided"]),
        found=st.just("eng_Latn"),
        total=st.none() | st.floats(0, 100),
    ),
    max_size=7,
    unique_by=lambda candidate: candidate.text,
).map(lambda found: [c if c.text.strip() else Candidate(c.text, c.origin, 0.0, "empty", None) for c in found])
pairings = st.builds(
    PairingSettings,
    mode=st.sampled_from(["best_worst", "all", "ranking"]),
    min_margin=st.sampled_from([0.0, 5.0, 15.0, 60.0]),
    max_length_ratio=st.none() | st.floats(1.1, 4),
    max_pairs=st.none() | st.integers(1, 4),
)
constructed = st.lists(st.sampled_from([ENGLISH, SHORT]), unique=True)
references = st.builds(
    lambda total: Candidate(REFERENCE.text, "reference", 100.0, "right", None, total), st.none() | st.floats(0, 100)
)


def sample(text: str, value: float, status: str = "right") -> Candidate:
    return Candidate(text, "sample", value, status, "eng_Latn")


@given(found=candidates, made=constructed, reference=references, how=pairings)
@settings(max_examples=400, deadline=None)
def test_what_holds_of_every_pair(
    found: list[Candidate], made: list[Reject], reference: Candidate, how: PairingSettings
) -> None:
    ranked = rank(found)
    by_text = {c.text: c for c in (*ranked, reference)}
    pairs = preferences(record(), ranked, reference, made, how)
    assert len({pair.id for pair in pairs}) == len({(p.chosen, p.rejected) for p in pairs}) == len(pairs)
    assert how.max_pairs is None or len(pairs) <= how.max_pairs
    forged = {reject.text for reject in made}
    for pair in pairs:
        chosen = by_text[pair.chosen]
        assert chosen.in_language, "an answer in the wrong language was chosen"
        assert chosen.status == "right" or (chosen.chrf or 0) >= 100 - LEAD, "one that nothing vouches for was chosen"
        assert pair.chosen.strip() and pair.rejected and pair.chosen != pair.rejected
        assert pair.chosen_reason and pair.rejected_reason
        if pair.rejected not in forged:
            rejected = by_text[pair.rejected]
            assert not rejected.in_language or rejected.value <= chosen.value - how.min_margin
            assert not rejected.in_language or rejected.value < chosen.value
        if how.max_length_ratio:
            shorter, longer = sorted((len(pair.chosen), len(pair.rejected)))
            assert longer <= how.max_length_ratio * shorter
    for order in rankings(record(), ranked, reference, made, how):
        assert by_text[order.answers[0]].in_language
        assert len(set(order.answers)) == len(order.answers) == len(order.reasons) >= 2
        assert SHORT.text not in order.answers


def test_all_takes_each_two_that_differ_by_the_margin() -> None:
    ranked = rank([sample("gut", 95), sample("mittel", 60), sample("fast mittel", 50), sample("other", 99, "wrong")])
    pairs = preferences(record(), ranked, REFERENCE, [], PairingSettings(mode="all"))
    assert {(pair.chosen, pair.rejected) for pair in pairs} == {
        ("gut", "mittel"),
        ("gut", "fast mittel"),
        ("gut", "other"),
        ("mittel", "other"),
        ("fast mittel", "other"),
    }
    wide = preferences(record(), ranked, REFERENCE, [], PairingSettings(mode="all", min_margin=10))
    assert {(p.chosen, p.rejected) for p in wide} - {(p.chosen, p.rejected) for p in pairs} == {
        ("mittel", "fast mittel")
    }


def test_max_pairs_keeps_those_that_differ_most() -> None:
    ranked = rank([sample("gut", 95), sample("mittel", 60), sample("schlecht", 10)])
    pairs = preferences(record(), ranked, REFERENCE, [ENGLISH], PairingSettings(mode="all", max_pairs=2))
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [("gut", "Norway"), ("gut", "schlecht")]


def test_the_length_ratio_drops_what_length_would_give_away() -> None:
    ranked = rank([sample("eine gute Antwort", 95), sample("nein", 10)])
    assert len(preferences(record(), ranked, REFERENCE, [], PairingSettings())) == 1
    assert preferences(record(), ranked, REFERENCE, [], PairingSettings(max_length_ratio=2)) == []
    assert len(preferences(record(), ranked, REFERENCE, [], PairingSettings(max_length_ratio=4.5))) == 1


def test_the_reference_is_taken_unless_a_sample_comes_near_it_by_all_rankers() -> None:
    judged = Candidate(REFERENCE.text, "reference", 100.0, "right", None, 60.0, "judge gives 3, 4, 3 of 5")
    for total, chosen in ((60 - LEAD, "anders"), (60 - LEAD - 1, REFERENCE.text), (90, "anders")):
        one = Candidate("anders", "sample", 12.0, "right", None, total, "judge gives 4, 4, 4 of 5")
        (pair,) = preferences(record(), [one], judged, [ENGLISH], PairingSettings())
        assert pair.chosen == chosen
        assert "of 100" in pair.chosen_reason or "the reference 60" in pair.chosen_reason


def test_the_whole_ranking_is_the_language_first_and_spaced_by_the_margin() -> None:
    ranked = rank([sample("a", 95), sample("b", 90), sample("c", 70), sample("d", 60), sample("x", 99, "wrong")])
    (order,) = rankings(record(), ranked, REFERENCE, [ENGLISH, SHORT], PairingSettings(mode="ranking"))
    assert order.answers == ("a", "c", "Norway", "x")
    (pair,) = preferences(record(), ranked, REFERENCE, [], PairingSettings(mode="ranking"))
    assert (pair.chosen, pair.rejected) == ("a", "x")


@given(found=candidates, made=constructed, how=pairings)
@settings(max_examples=300, deadline=None)
def test_without_a_reference_the_best_sample_surely_in_the_language_stands_in(
    found: list[Candidate], made: list[Reject], how: PairingSettings
) -> None:
    ranked = rank(found)
    pairs, orders = (make(record(), ranked, None, made, how) for make in (preferences, rankings))
    surely = [c.text for c in ranked if c.status == "right"]
    if not surely:
        assert pairs == orders == []
        return
    assert {pair.chosen for pair in pairs} <= set(surely), "an answer whose language is undecided was chosen"
    assert how.mode == "all" or {pair.chosen for pair in pairs} <= {surely[0]}
    assert all(one.answers[0] == surely[0] for one in orders)
    unlike = [reject for reject in made if reject.text != surely[0]]
    if unlike and how.max_length_ratio is None and how.max_pairs is None:
        assert {reject.text for reject in unlike} <= {pair.rejected for pair in pairs}


def test_a_judge_alone_does_not_vouch_for_the_language() -> None:
    judged = Candidate(REFERENCE.text, "reference", 100.0, "right", None, 60.0, "judge gives 3, 4, 3 of 5")
    doubtful = Candidate("anders", "sample", 12.0, "undecided", None, 95.0, "judge gives 5, 5, 5 of 5")
    sure = Candidate("gut", "sample", 12.0, "right", None, 80.0, "judge gives 4, 4, 4 of 5")
    near = Candidate("Norwegen", "sample", 95.0, "undecided", None, 90.0, "judge gives 5, 5, 5 of 5")
    for ranked, chosen in (
        ([doubtful], REFERENCE.text),
        ([doubtful, sure], "gut"),
        ([doubtful, near, sure], "Norwegen"),
    ):
        for mode in ("best_worst", "all", "ranking"):
            how = PairingSettings.model_validate({"mode": mode})
            pairs = preferences(record(), ranked, judged, [ENGLISH], how)
            assert pairs[0].chosen == chosen
            assert "anders" not in {pair.chosen for pair in pairs}
            (order,) = rankings(record(), ranked, judged, [ENGLISH], how)
            assert order.answers[0] == chosen
