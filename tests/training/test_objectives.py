"""What is minimised, held against transformers' own loss and against DPO's formula on whole logits."""

import functools
import math
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
from xllms.recipe import DpoSettings
from xllms.training.examples import Batch, Example
from xllms.training.metrics_log import LanguageMeans, means
from xllms.training.objectives import Objective, Outcome, sft
from xllms.training.preference_losses import lambda_loss, preference

ids = st.lists(st.integers(3, 7), min_size=1, max_size=7).map(tuple)
sequences = st.builds(TokenSequence, ids, ids)
BETA = 0.3


def dpo(beta: float, nll_weight: float = 0.0) -> Objective:
    return preference(DpoSettings(beta=beta, nll_weight=nll_weight))


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
    figures = LanguageMeans()
    parts = []  # as of two processes
    for _ in range(2):
        figures.add(outcome, [example.language for example in examples])
        parts.append(figures.take())
    taken = means(parts)
    model, _ = model_of("llama")
    german = [example.sequences[0] for example in examples[:2]]
    assert taken["loss"] == pytest.approx(float(outcome.total) / outcome.items, abs=1e-5)
    assert taken["n"] == 6
    assert taken["languages"]["deu_Latn"]["loss"] == pytest.approx(labels_loss(model, german), abs=1e-4)
    assert {code: row["n"] for code, row in taken["languages"].items()} == {"deu_Latn": 4, "swh_Latn": 2}
    assert means([figures.take()]) == {}


def probabilities(sequence: TokenSequence) -> tuple[float, float, int]:
    """Log-probability under policy and reference, and the tokens behind it."""
    policy, reference = (float(logprob(model_of("llama", seed)[0], sequence)) for seed in (0, 1))
    return policy, reference, len(sequence.completion)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def expected(loss: str, good: TokenSequence, bad: TokenSequence, beta: float, smoothing: float) -> float:
    """The formulas of the papers, in Python's own floats."""
    (pc, rc, nc), (pr, rr, nr) = probabilities(good), probabilities(bad)
    margin = {
        "dpo": beta * ((pc - rc) - (pr - rr)),
        "dpo_norm": beta * ((pc - rc) / nc - (pr - rr) / nr),
        "simpo": beta * (pc / nc - pr / nr) - 0.5,
        "cpo": beta * (pc - pr),
    }
    if loss in margin:
        pair = -(1 - smoothing) * log_sigmoid(margin[loss]) - smoothing * log_sigmoid(-margin[loss])
        return pair + (-pc / nc if loss == "cpo" else 0)
    if loss == "ipo":
        return ((pc - rc) / nc - (pr - rr) / nr - 1 / (2 * beta)) ** 2
    odds = [p / n - math.log(1 - math.exp(p / n)) for p, n in ((pc, nc), (pr, nr))]
    return -pc / nc - beta * log_sigmoid(odds[0] - odds[1])


@pytest.mark.parametrize(
    ("loss", "smoothing"),
    [("dpo", 0.1), ("dpo_norm", 0.0), ("dpo_norm", 0.2), ("ipo", 0.0), ("simpo", 0.0), ("simpo", 0.1), ("orpo", 0.0),
     ("cpo", 0.0), ("cpo", 0.1)],
)  # fmt: skip
@settings(max_examples=15, deadline=None)
@given(batch=st.lists(st.tuples(ids, ids, ids), min_size=1, max_size=4), beta=st.sampled_from([0.1, 2.0]))
def test_each_preference_loss_is_its_papers_formula(
    loss: str, smoothing: float, batch: list[tuple[tuple[int, ...], ...]], beta: float
) -> None:
    pairs = [(TokenSequence(prompt, good), TokenSequence(prompt, bad)) for prompt, good, bad in batch]
    made = DpoSettings.model_validate({"loss": loss, "beta": beta, "label_smoothing": smoothing})
    references = [tuple(probabilities(one)[1] for one in pair) if made.loss.needs_reference else () for pair in pairs]
    examples = [Example("deu_Latn", pair, known) for pair, known in zip(pairs, references, strict=True)]
    outcome = outcome_of("llama", examples, preference(made))
    want = [expected(loss, good, bad, beta, smoothing) for good, bad in pairs]
    assert outcome.loss.tolist() == pytest.approx(want, rel=2e-4, abs=2e-4)
    assert float(outcome.total) == pytest.approx(sum(want), rel=2e-4, abs=1e-3)


def test_a_per_token_loss_does_not_see_how_many_tokens_a_language_needs() -> None:
    """The same log-ratio per token over three times the tokens: the reward triples in dpo, and stays in dpo_norm."""
    margins = {}
    for loss in ("dpo", "dpo_norm"):
        made = DpoSettings.model_validate({"loss": loss, "beta": 1.0})
        for tokens in (2, 6):
            pair = (TokenSequence((3,), (4,) * tokens), TokenSequence((3,), (5,) * tokens))
            batch = Batch.collate([Example("amh_Ethi", pair, (0.0, 0.0))])
            values = torch.tensor([-1.0 if target == 4 else -2.0 for target in batch.trie.target.tolist()])
            margins[loss, tokens] = float(preference(made)(values, batch).extra["margin"])
    assert margins["dpo", 6] == pytest.approx(3 * margins["dpo", 2])
    assert margins["dpo_norm", 6] == pytest.approx(margins["dpo_norm", 2])


def test_lambda_loss_of_four_answers_by_hand() -> None:
    reward = [0.2, 1.0, -0.5, 0.1]  # places by score: 2, 1, 4, 3
    place, grade = [2, 1, 4, 3], [1, 2 / 3, 1 / 3, 0]
    want = 0.0
    for i in range(4):
        for j in range(i + 1, 4):
            gain = abs(2 ** grade[i] - 2 ** grade[j])
            discount = abs(1 / math.log2(1 + place[i]) - 1 / math.log2(1 + place[j]))
            want -= gain * discount * log_sigmoid(reward[i] - reward[j])
    assert float(lambda_loss(torch.tensor(reward))) == pytest.approx(want, rel=1e-5)
    assert float(lambda_loss(torch.tensor([4.0, 3.0, 2.0, 1.0]))) < float(
        lambda_loss(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    )


def test_a_ranking_is_one_pass_and_its_gradient_lifts_the_best() -> None:
    prompt = (3, 4, 5, 6)
    answers = tuple(TokenSequence(prompt, (token, 8)) for token in (10, 11, 12, 13))
    examples = [
        Example("deu_Latn", answers, (0.0,) * 4),
        Example("deu_Latn", answers[:2], (0.0,) * 2),  # rankings of different lengths in one batch
    ]
    batch = Batch.collate(examples)
    assert len(batch.trie) == len(prompt) + 4
    scores = torch.full((len(batch.trie.target),), -1.0, requires_grad=True)
    outcome = preference(DpoSettings.model_validate({"loss": "ranking"}))(scores, batch)
    assert outcome.items == 2
    outcome.total.backward()
    assert scores.grad is not None
    sums = batch.trie.sum_by_sequence(scores.grad)
    assert sums[0] < 0 < sums[3]
    assert outcome.extra["accuracy"].tolist() == [0, 0]  # all alike: nobody is ahead
