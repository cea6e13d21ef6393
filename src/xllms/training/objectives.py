"""What is minimised: short functions over the log-probabilities that the packing core gives."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from xllms.training.examples import Batch


@dataclass
class Outcome:
    """One batch under an objective.

    Attributes:
        total: scalar sum over the batch; divided by the items of the whole step before the backward pass.
        items: what the sum runs over: tokens, or pairs.
        loss: (B,) per example.
        weight: (B,) items of each example.
        extra: further (B,) figures per example, such as the reward margin.
    """

    total: Tensor
    items: int
    loss: Tensor
    weight: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)


Objective = Callable[[Tensor, Batch], Outcome]


def sft(logprobs: Tensor, batch: Batch) -> Outcome:
    """Cross-entropy of the completions, averaged over tokens.

    Args:
        logprobs: (S,) of the trie's scored pairs.
        batch: one sequence per example.
    """
    nll = -batch.trie.sum_by_sequence(logprobs)
    weight = nll.new_tensor(batch.trie.lengths)
    return Outcome(nll.sum(), sum(batch.trie.lengths), (nll / weight).detach(), weight)


def dpo(beta: float, nll_weight: float = 0.0) -> Objective:
    """Sigmoid DPO loss, `-log sigmoid(beta * (log-ratio chosen - log-ratio rejected))`: Rafailov et al. 2023, eq. 7.

    Args:
        beta: how far the policy may move from the reference.
        nll_weight: of the chosen answer's cross-entropy per token, added to the loss (Pang et al. 2024, eq. 1).
    """

    def objective(logprobs: Tensor, batch: Batch) -> Outcome:
        policy = batch.trie.sum_by_sequence(logprobs).view(-1, 2)
        rewards = beta * (policy - batch.reference.to(policy.device))
        margin = rewards[:, 0] - rewards[:, 1]
        loss = -F.logsigmoid(margin)
        if nll_weight:
            length = policy.new_tensor(batch.trie.lengths).view(-1, 2)[:, 0]
            loss = loss - nll_weight * policy[:, 0] / length
        extra = {"margin": margin.detach(), "accuracy": (margin > 0).float().detach()}
        weight = loss.new_ones(len(loss))
        return Outcome(loss.sum(), len(loss), loss.detach(), weight, extra)

    return objective
