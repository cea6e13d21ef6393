"""The log-probability of each of any number of completions: tries of bounded size, one after another.

The batches are cut from one trie in the order of its sequences, and each goes on from the keys and values of the nodes
that it shares with the one before: however small the batches, no node is run twice. Only what is scored goes through
the output matrix, and no logits matrix is made.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from xllms.packing.attention import TreeAttention
from xllms.packing.batches import padded_batches, trie_batches
from xllms.packing.branches import Branches
from xllms.packing.head import head_logprobs
from xllms.packing.logprobs import Batching, base_model, logit_bend, run_trie, token_logprobs
from xllms.packing.plan import Scoring
from xllms.packing.trie import TokenSequence, Trie

_NODES = {"cpu": 1024, "cuda": 16384}


@torch.inference_mode()
def completion_logprobs(
    model: nn.Module, sequences: Sequence[TokenSequence], *, batching: Batching = "trie", nodes: int | None = None
) -> list[float]:
    """Log-probability of each completion, summed over its tokens.

    Args:
        model: causal LM of transformers, or a peft model around one.
        sequences: any number of them, in any order.
        batching: as in `token_logprobs`.
        nodes: trie nodes (or padded tokens) in a batch; None for what suits the device. One sequence is run whatever
            it takes.

    Returns:
        One for each sequence, in order.
    """
    causal_lm = base_model(model)
    budget = nodes or _NODES.get(causal_lm.device.type, _NODES["cuda"])
    sums = [0.0] * len(sequences)
    batches = padded_batches(sequences, budget) if batching == "padded" else trie_batches(sequences, budget)
    passes = _Passes(causal_lm)
    for number, (members, _) in enumerate(batches):
        trie = Trie.build([sequences[index] for index in members])
        if batching == "padded":
            values = token_logprobs(causal_lm, trie, batching="padded")
        else:
            following = batches[number + 1][1] if number + 1 < len(batches) else 0
            values = passes.logprobs(trie, trie.paths[-1][:following])
        for index, total in zip(members, trie.sum_by_sequence(values.double()).tolist(), strict=True):
            sums[index] = total
    return sums


class _Passes:
    """Runs tries one after another, each from the nodes that the one before has kept for it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.keep = torch.empty(0, dtype=torch.long, device=model.device)
        self.hidden = torch.empty(0, device=model.device)
        self.cache = Cache(layer_class_to_replicate=partial(_ChainLayer, self))

    def logprobs(self, trie: Trie, keep: Tensor) -> Tensor:
        """Log-probabilities of a trie's pairs.

        Args:
            trie: its first nodes are the ones that were kept.
            keep: nodes of one path from the root, for the next trie.
        """
        kept = len(self.keep)
        self.keep = keep.to(self.model.device)
        caching = {"past_key_values": self.cache, "use_cache": True} if kept or len(keep) else {}
        run = partial(_run_rest, kept=kept) if kept else run_trie
        hidden = run(self.model, trie, **caching).last_hidden_state[0]
        hidden = torch.cat([self.hidden.to(hidden.dtype), hidden]) if kept else hidden
        self.hidden = hidden[self.keep]
        scored, row = torch.unique(trie.node, return_inverse=True)
        return head_logprobs(
            self.model.get_output_embeddings(),
            hidden[scored.to(hidden.device)],
            row.to(hidden.device),
            trie.target.to(hidden.device),
            bend=logit_bend(self.model.config),
        )


class _ChainLayer(DynamicLayer):
    """One layer's keys and values of the kept nodes; those of a trie's other nodes go when the layer has run."""

    def __init__(self, passes: _Passes) -> None:
        super().__init__()
        self.passes = passes

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys, values = super().update(key_states, value_states, *args, **kwargs)
        self.keys, self.values = (tensor.index_select(2, self.passes.keep) for tensor in (keys, values))
        return keys, values


def _run_rest(model: Any, trie: Trie, *, kept: int, **caching: Any) -> Any:
    """As `run_trie`, for the nodes after the first `kept`, whose keys and values the cache holds."""
    decoder = getattr(model, model.base_model_prefix)
    with TreeAttention(model, _Rest(trie, kept)):
        return decoder(
            input_ids=trie.ids[None, kept:].to(model.device),
            position_ids=trie.depth[None, kept:].to(model.device),
            **caching,
        )


class _Rest:
    """The attention plan of a trie's nodes after the first `kept`: those are keys only, and stand last."""

    def __init__(self, trie: Trie, kept: int) -> None:
        self.kept = kept
        chunks = zip(trie.chunks, trie.chunk_path, strict=True)
        new = ((path, stop - max(start, kept)) for (start, stop), path in chunks)
        self.branches = Branches([((trie.paths[path] - kept) % len(trie), count) for path, count in new if count > 0])

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """As `Plan.attend`, over the keys of the kept nodes and the rest."""
        key, value = (torch.roll(tensor, -self.kept, dims=2) for tensor in (key, value))
        return self.branches.attend(query, key, value, scoring)
