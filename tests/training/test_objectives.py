"""What is minimised, held against transformers' own loss and against DPO's formula on whole logits."""

import functools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from tests.tiny import tiny_model
from xllms.packing import TokenSequence, choose_batching, token_logprobs
from xllms.packing.logprobs import Batching
from xllms.training.examples import Batch, Example
from xllms.training.metrics_log import LanguageMeans
from xllms.training.objectives import Outcome, dpo, sft

ids = st.lists(st.integers(3, 7), min_size=1, max_size=7).map(tuple)
sequences = st.builds(TokenSequence, ids, ids)
BETA = 0.3


@functools.cache
def model_of(architecture: str, seed: int = 0) -> tuple[PreTrainedModel, Batching]:
    model = tiny_model(architecture, seed)
    return model, choose_batching(model)[0]


@torch.no_grad()
def outcome_of(architecture: str, examples: Sequence[Example], objective: object) -> Outcome:
    model, batching = model_of(architecture)
    batch = Batch.collate(examples)
    outcome = objective(token_logprobs(model, batch.trie, batching=batching), batch)  # type: ignore[operator]
    assert isinstance(outcome, Outcome)
    return outcome


def labels_loss(model: PreTrainedModel, batch: Sequence[TokenSequence]) -> float:
    """transformers' loss of a padded batch with the prompts and the padding left out."""
    width = max(map(len, batch))
    inputs, labels, mask = (torch.full((len(batch), width), fill) for fill in (0, -100, 0))
    for row, sequence in enumerate(batch):
        whole = torch.tensor(sequence.prompt + sequence.completion)
        inputs[row, : len(whole)] = whole
        labels[row, len(sequence.prompt) : len(whole)] = whole[len(sequence.prompt) :]
        mask[row, : len(whole)] = 1
    with torch.no_grad():
        return float(model(input_ids=inputs, attention_mask=mask, labels=labels).loss)


@torch.no_grad()
def logprob(model: PreTrainedModel, sequence: TokenSequence) -> Tensor:
    """Log-probability of the completion from the whole matrix of logits."""
    whole = torch.tensor([sequence.prompt + sequence.completion])
    steps = model(input_ids=whole).logits[0, :-1].double().log_softmax(-1)
    each = steps[torch.arange(len(steps)), whole[0, 1:]]
    return each[len(sequence.prompt) - 1 :].sum()


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "bloom"])
@settings(max_examples=15, deadline=None)
@given(batch=st.lists(sequences, min_size=1, max_size=5))
def test_sft_is_the_mean_token_cross_entropy(architecture: str, batch: list[TokenSequence]) -> None:
    outcome = outcome_of(architecture, [Example("deu_Latn", (one,)) for one in batch], sft)
    model, _ = model_of(architecture)
    assert outcome.items == sum(len(one.completion) for one in batch)
    assert float(outcome.total) / outcome.items == pytest.approx(labels_loss(model, batch), rel=1e-4)
    assert outcome.loss.tolist() == pytest.approx([labels_loss(model, [one]) for one in batch], rel=1e-4)
    assert outcome.weight.tolist() == [len(one.completion) for one in batch]


@pytest.mark.parametrize("architecture", ["llama", "bloom"])
@settings(max_examples=15, deadline=None)
@given(batch=st.lists(st.tuples(ids, ids, ids), min_size=1, max_size=4), nll_weight=st.sampled_from([0.0, 0.7]))
def test_dpo_is_the_formula_on_whole_logits(
    architecture: str, batch: list[tuple[tuple[int, ...], ...]], nll_weight: float
) -> None:
    policy, _ = model_of(architecture)
    reference, _ = model_of(architecture, 1)
    pairs = [(TokenSequence(prompt, good), TokenSequence(prompt, bad)) for prompt, good, bad in batch]
    examples = [Example("deu_Latn", pair, tuple(float(logprob(reference, one)) for one in pair)) for pair in pairs]
    outcome = outcome_of(architecture, examples, dpo(BETA, nll_weight))
    chosen, rejected = (
        [logprob(policy, one) - logprob(reference, one) for one in side] for side in zip(*pairs, strict=True)
    )
    margins = BETA * (torch.stack(chosen) - torch.stack(rejected))
    losses = -torch.log(1 / (1 + torch.exp(-margins)))
    if nll_weight:
        losses += nll_weight * torch.tensor([labels_loss(policy, [good]) for good, _ in pairs])
    assert outcome.items == len(pairs)
    assert outcome.extra["margin"].tolist() == pytest.approx(margins.tolist(), abs=1e-4)
    assert outcome.loss.tolist() == pytest.approx(losses.tolist(), abs=1e-4)
    assert float(outcome.total) == pytest.approx(float(losses.sum()), abs=4e-4)
    clear = margins.abs() > 1e-3
    assert torch.equal(outcome.extra["accuracy"][clear].double(), (margins > 0)[clear].double())


def test_dpo_starts_at_log_two_and_its_gradient_prefers_the_chosen() -> None:
    pair = (TokenSequence((3, 4), (5, 6)), TokenSequence((3, 4), (6, 7, 8)))
    examples = [Example("deu_Latn", pair, (-5.0, -9.0))]
    batch = Batch.collate(examples)
    logprobs = torch.tensor([0.0] * len(batch.trie.target), requires_grad=True)
    sums = batch.trie.sum_by_sequence(logprobs)
    assert sums.tolist() == [0, 0]
    # At the reference's own log-probabilities: shift each sequence's first scored token to give its sum.
    first = torch.zeros(len(batch.trie.target))
    for at, value in zip((0, len(pair[0].completion)), (-5.0, -9.0), strict=True):
        first[batch.trie.pair[at]] += value
    outcome = dpo(BETA)(logprobs + first, batch)
    assert float(outcome.total.detach()) == pytest.approx(0.693147, abs=1e-5)
    outcome.total.backward()
    assert logprobs.grad is not None
    chosen, rejected = (logprobs.grad[batch.trie.pair[batch.trie.sequence == row]] for row in (0, 1))
    assert torch.allclose(chosen, torch.full_like(chosen, -BETA / 2))
    assert torch.allclose(rejected, torch.full_like(rejected, BETA / 2))


def test_figures_are_kept_per_language_with_their_counts() -> None:
    examples = [
        Example("deu_Latn", (TokenSequence((3,), (4,)),)),
        Example("deu_Latn", (TokenSequence((3,), (4, 5, 6)),)),
        Example("swh_Latn", (TokenSequence((3, 4), (5, 6)),)),
    ]
    outcome = outcome_of("llama", examples, sft)
    means = LanguageMeans()
    for _ in range(2):
        means.add(outcome, [example.language for example in examples])
    taken = means.take()
    model, _ = model_of("llama")
    german = [example.sequences[0] for example in examples[:2]]
    assert taken["loss"] == pytest.approx(float(outcome.total) / outcome.items, abs=1e-5)
    assert taken["n"] == 6
    assert taken["languages"]["deu_Latn"]["loss"] == pytest.approx(labels_loss(model, german), abs=1e-4)
    assert {code: row["n"] for code, row in taken["languages"].items()} == {"deu_Latn": 4, "swh_Latn": 2}
    assert means.take() == {}
