"""The packing core: token tries, tree attention, and log-probabilities without a logits matrix.

Everything that trains or ranks is a weighted set of token sequences. They are laid out as one trie, every shared
prefix is run once, and `token_logprobs` gives the log-probability of each scored token, exact and differentiable.
"""

from xllms.packing.attention import enable_gradient_checkpointing
from xllms.packing.logprobs import choose_batching, token_logprobs
from xllms.packing.trie import TokenSequence, Trie

__all__ = ["TokenSequence", "Trie", "choose_batching", "enable_gradient_checkpointing", "token_logprobs"]
