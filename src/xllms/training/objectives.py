"""What is minimised: a function over the log-probabilities that the packing core gives. SFT is here."""

from collections.abc import Callable
from dataclasses import dataclass, field

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
