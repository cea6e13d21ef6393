"""The packing plan: every example of a step in exactly one pass, within the budget, alike for all processes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xllms.packing import TokenSequence
from xllms.training.examples import Batch, Example
from xllms.training.plan import Cost, Plan, deal

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple)
examples_of = st.lists(
    st.builds(
        lambda prompt, answers: Example("deu_Latn", tuple(TokenSequence(prompt, a) for a in answers)),
        tokens,
        st.lists(tokens, min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=30,
)


def nodes(examples: list[Example], members: tuple[int, ...]) -> int:
    return len(Batch.collate([examples[i] for i in members]).trie)


@given(examples_of, st.integers(4, 60), st.integers(1, 4), st.sampled_from([0.0, 1.7]))
def test_every_example_is_in_one_pass_within_the_budget(
    examples: list[Example], budget: int, processes: int, head: float
) -> None:
    hands = deal(examples, range(len(examples)), Cost(budget, head), processes)
    assert len(hands) == processes
    assert len({len(passes) for passes in hands}) == 1  # FSDP2 wants as many passes of each
    assert sorted(i for passes in hands for one in passes for i in one) == list(range(len(examples)))
    for one in (one for passes in hands for one in passes if len(one) > 1):
        assert nodes(examples, one) <= max(budget, *(examples[i].nodes for i in one))


def realistic(count: int, seed: int = 0) -> list[Example]:
    """A preamble that all share, one of 8 instructions, an answer of 20 to 120 tokens of its own."""
    draw = random.Random(seed)
    preamble = tuple(range(100, 130))
    return [
        Example(
            "deu_Latn",
            (
                TokenSequence(
                    (*preamble, 200 + draw.randrange(8), *draw.choices(range(300, 900), k=12)),
                    tuple(draw.choices(range(300, 900), k=draw.randrange(20, 120))),
                ),
            ),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_no_process_waits_long_for_another(processes: int) -> None:
    examples = realistic(2048)
    plan = Plan(examples, list(range(2048)), 256, Cost(2048, 1.7), processes)
    waits = []
    for step in range(len(plan)):
        paid = []
        for rank in range(processes):
            tries = [Batch.collate([examples[i] for i in one]).trie for one in plan.passes(step, rank) if one]
            paid.append(sum(len(trie) + 1.7 * len(trie.node.unique()) for trie in tries))
        waits.append(max(paid) * processes / sum(paid) - 1)
    assert sum(waits) / len(waits) < 0.04
    assert max(waits) < 0.10


def test_steps_do_not_depend_on_the_number_of_processes_nor_on_the_budget() -> None:
    examples = realistic(100)
    steps = set()
    for processes, budget in ((1, 100000), (3, 500), (4, 200)):
        plan = Plan(examples, list(range(100)), 32, Cost(budget), processes)
        steps.add(
            tuple(
                tuple(sorted(i for rank in range(processes) for one in plan.passes(step, rank) for i in one))
                for step in range(len(plan))
            )
        )
    assert len(steps) == 1
    (found,) = steps
    assert [len(step) for step in found] == [32, 32, 32, 4]


def test_sharers_of_a_step_are_put_side_by_side() -> None:
    """Dealt in the order of the draws, the same passes would hold more nodes."""
    examples = realistic(64)
    (passes,) = deal(examples, range(64), Cost(1200), 1)
    assert len(passes) > 2
    sorted_nodes = sum(nodes(examples, one) for one in passes)
    drawn = [tuple(range(at, min(64, at + len(passes[0])))) for at in range(0, 64, len(passes[0]))]
    assert sorted_nodes < sum(nodes(examples, one) for one in drawn)


def test_equal_examples_over_the_budget_come_to_an_end() -> None:
    """The second costs nothing beside the first: no cut by cost would ever part them."""
    long = Example("deu_Latn", (TokenSequence(tuple(range(40)), (1, 2)),))
    short = Example("deu_Latn", (TokenSequence((90, 91), (1, 2)),))
    (passes,) = deal([long, long, short, long], range(4), Cost(16), 1)
    assert sorted(i for one in passes for i in one) == [0, 1, 2, 3]
