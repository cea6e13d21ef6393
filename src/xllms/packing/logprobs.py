"""`token_logprobs`: what SFT, DPO, the reference pass and benchmark ranking all call."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from xllms.packing.attention import TreeAttention
from xllms.packing.flex import FlexPlan
from xllms.packing.head import Bend, head_logprobs
from xllms.packing.plan import UnsupportedAttention
from xllms.packing.trie import TokenSequence, Trie

Batching = Literal["trie", "padded"]
Kernel = Literal["flex", "branches"]


def token_logprobs(
    model: nn.Module,
    batch: Trie | Iterable[TokenSequence],
    *,
    batching: Batching = "trie",
    kernel: Kernel | None = None,
    tile: int | None = None,
) -> Tensor:
    """Log-probability of every scored token in `batch`, each shared prefix run once.

    Args:
        model: causal LM of transformers, or a peft model around one; adapters and sliding windows are honoured.
        batch: token trie with S scored (node, target) pairs, or sequences to lay out as one.
        batching: `padded` runs one padded row per sequence instead, for architectures that cannot take a trie.
        kernel: how attention over a trie is computed, as in `run_trie`.
        tile: vocabulary entries projected at a time, as in `head_logprobs`.

    Returns:
        (S,) float32, in the order of `batch.target`; `batch.sum_by_sequence` gives sums per sequence.

    Raises:
        UnsupportedAttention: the architecture cannot take a tree mask; use `batching="padded"`.
    """
    trie = batch if isinstance(batch, Trie) else Trie.build(batch)
    causal_lm = base_model(model)
    scored, row = torch.unique(trie.node, return_inverse=True)
    if batching == "trie":
        hidden = run_trie(causal_lm, trie, kernel=kernel).last_hidden_state[0]
        hidden = hidden[scored.to(hidden.device)]
    else:
        hidden = _run_padded(causal_lm, trie, scored)
    device = hidden.device
    head = causal_lm.get_output_embeddings()
    return head_logprobs(
        head, hidden, row.to(device), trie.target.to(device), bend=logit_bend(causal_lm.config), tile=tile
    )


def base_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside peft's or DDP's wrappers; adapters sit in its layers and stay."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    if isinstance(model, PeftModel):
        model = model.get_base_model()
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"{type(model).__name__} is no causal language model of transformers")
    return model


def run_trie(causal_lm: PreTrainedModel, trie: Trie, *, kernel: Kernel | None = None, **kwargs: Any) -> Any:
    """One pass of the decoder below the head over a trie.

    Args:
        causal_lm: of transformers; `base_model` takes wrappers off.
        trie: of N nodes.
        kernel: `flex` for FlexAttention, `branches` for grouped scaled-dot-product attention; None takes the first on
            a CUDA device and the second elsewhere.
        kwargs: go to the decoder (a cache, say).

    Returns:
        The decoder's output; its `last_hidden_state` is (1, N, H).

    Raises:
        UnsupportedAttention: the architecture cannot take a tree mask.
    """
    decoder = getattr(causal_lm, causal_lm.base_model_prefix)
    device = causal_lm.device
    flex = kernel == "flex" or (kernel is None and device.type == "cuda")
    plan = FlexPlan(trie.depth, trie.end, trie.branches, device) if flex else trie.branches
    with TreeAttention(causal_lm, plan):
        return decoder(
            input_ids=trie.ids[None].to(device),
            position_ids=trie.depth[None].to(device),
            **{"use_cache": False, **kwargs},
        )


def _run_padded(causal_lm: PreTrainedModel, trie: Trie, scored: Tensor) -> Tensor:
    """(number of scored nodes, H): each from the first sequence that holds the node."""
    decoder = getattr(causal_lm, causal_lm.base_model_prefix)
    device = causal_lm.device
    nodes = torch.nn.utils.rnn.pad_sequence(list(trie.paths), batch_first=True, padding_value=-1)
    mask = nodes >= 0
    output = decoder(
        input_ids=trie.ids[nodes.clamp(min=0)].to(device),
        attention_mask=mask.long().to(device),
        use_cache=False,
    )
    where = torch.full((len(trie),), -1)
    flat = nodes.flatten().flip(0)  # the first sequence is written last and wins
    place = torch.arange(len(flat)).flip(0)
    where[flat[flat >= 0]] = place[flat >= 0]
    hidden: Tensor = output.last_hidden_state.flatten(0, 1)
    return hidden[where[scored].to(hidden.device)]


def logit_bend(config: Any) -> Bend | None:
    """What an architecture does between its head and its logits, or None."""
    cap = getattr(config, "final_logit_softcapping", None)
    scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
    if cap is None and scale == 1:
        return None

    def bend(logits: Tensor) -> Tensor:
        logits = logits * scale
        return logits if cap is None else torch.tanh(logits / cap) * cap

    return bend


_PROBE = (TokenSequence((5, 6, 7), (8, 9, 10)), TokenSequence((5, 6, 7), (9, 4)), TokenSequence((5, 3), (8,)))


def choose_batching(model: nn.Module) -> tuple[Batching, str]:
    """`trie` where this model computes the same on a trie as on rows of its own, else `padded`; with the reason.

    The check is made on the model itself, with a few tokens: what an architecture does to its positions, masks and
    logits is measured instead of being looked up by name.
    """
    causal_lm = base_model(model)
    was_training = causal_lm.training
    causal_lm.eval()
    try:
        with torch.no_grad():
            got = token_logprobs(model, _PROBE)
            want = _reference_logprobs(causal_lm, _PROBE)
    except (UnsupportedAttention, TypeError) as error:
        return "padded", f"{type(causal_lm).__name__} cannot run a token trie ({error})"
    finally:
        causal_lm.train(was_training)
    trie = Trie.build(_PROBE)
    difference = float((trie.sum_by_sequence(got).cpu() - want).abs().max())
    # bfloat16 rounds logits of 20 to 0.06; a wrong mask or position is off by far more than either bound.
    bound = 1e-3 if causal_lm.dtype == torch.float32 else 0.5
    if difference > bound:
        return "padded", f"{type(causal_lm).__name__} differs on a token trie by {difference:.2g}"
    return (
        "trie",
        f"{type(causal_lm).__name__} runs token tries (checked on itself, difference {difference:.1g})",
    )


def _reference_logprobs(causal_lm: PreTrainedModel, sequences: Iterable[TokenSequence]) -> Tensor:
    """Summed log-probability of each completion from the model's own logits, one sequence at a time."""
    sums = []
    for sequence in sequences:
        ids = torch.tensor([sequence.prompt + sequence.completion], device=causal_lm.device)
        logprobs = causal_lm(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
        at = torch.arange(len(sequence.prompt) - 1, len(sequence) - 1, device=ids.device)
        sums.append(logprobs[at, ids[0, at + 1]].sum())
    return torch.stack(sums).cpu()
