from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from xllms.packing import TokenSequence
from xllms.training.dpo import _split
from xllms.training.examples import Example


def example(fact: str) -> Example:
    return Example("swh_Latn", (TokenSequence((1, 2), (3,)),), fact=fact)


def test_one_small_fact_is_not_all_that_is_validated() -> None:
    sizes = [1, 1, 1, 1, 2, 4, 4, 6, 19, 159, 184, 194]  # pairs of each fact in the quickstart
    examples = [example(str(number)) for number, size in enumerate(sizes) for _ in range(size)]
    for seed in range(20):
        training, validation = _split(examples, 0.1, seed)
        assert 30 <= len(validation) <= 80
        assert len(training) + len(validation) == len(examples)
        assert not {e.fact for e in training} & {e.fact for e in validation}


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1), st.floats(0, 0.5), st.integers(0, 9))
def test_nothing_is_held_back_for_a_share_of_nothing_and_something_always_stays(
    facts: list[str], share: float, seed: int
) -> None:
    examples = [example(fact) for fact in facts]
    assert _split(examples, 0.0, seed) == (examples, [])
    training, validation = _split(examples, share, seed)
    assert training
    wanted = share * len(facts)
    assert abs(len(validation) - wanted) <= max(wanted, max(Counter(facts).values()))
