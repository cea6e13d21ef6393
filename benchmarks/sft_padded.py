"""The quickstart's SFT step through the token trie against plain padded batches: same model, data and effective batch.

Checks first that both give the same loss and the same adapter gradient, then measures interleaved, in CPU seconds of
this process. The padded side is what plain fine-tuning does: one row per example, transformers' own forward, and the
labels' cross-entropy over all logits. A second padded side uses our head kernel, so that the share of each is seen.

    python benchmarks/sft_padded.py [--batches 6] [--dtype float32]

Ends with one JSON line. A ratio above 1 means that the trie is faster.
"""

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from xllms.instructions import stage as instructions
from xllms.languages import resolve
from xllms.models import Loaded, load
from xllms.models.loading import base_of
from xllms.packing import token_logprobs
from xllms.recipe import ModelSettings
from xllms.recipe_file import load_recipe
from xllms.splits import read_split
from xllms.training.adapters import add_lora
from xllms.training.examples import Batch, Example, encode_instructions

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
IGNORED = -100


def quickstart_examples(loaded: Loaded, count: int, size: int) -> list[list[Example]]:
    recipe = load_recipe(RECIPE)
    with tempfile.TemporaryDirectory() as folder:
        instructions.run(recipe.instructions, resolve(recipe.languages), recipe.seed, Path(folder))
        records = [record for rows in read_split(Path(folder), "train").values() for record in rows]
    random.Random(recipe.seed).shuffle(records)
    examples = encode_instructions(records[: count * size], loaded.template, recipe.sft.max_length).examples
    return [examples[start : start + size] for start in range(0, len(examples), size)]


def trie_loss(model: nn.Module, batch: Batch) -> Tensor:
    return -batch.trie.sum_by_sequence(token_logprobs(model, batch.trie)).sum() / sum(batch.trie.lengths)


def padded_kernel_loss(model: nn.Module, batch: Batch) -> Tensor:
    logprobs = token_logprobs(model, batch.trie, batching="padded")
    return -batch.trie.sum_by_sequence(logprobs).sum() / sum(batch.trie.lengths)


def padded_plain_loss(model: nn.Module, batch: Batch, *, in_double: bool = False) -> Tensor:
    """Right-padded rows, all logits, cross-entropy with ignored prompts: what a plain trainer does.

    `in_double` takes the cross-entropy in float64, to judge by: in float32 its sum over 262,144 entries is what rounds.
    """
    trie = batch.trie
    rows, labels = [], []
    for index, path in enumerate(trie.paths):
        completion = trie.target[trie.pair[trie.sequence == index]]
        ids = torch.cat([trie.ids[path], completion[-1:]])
        rows.append(ids)
        labels.append(torch.cat([torch.full((len(ids) - len(completion),), IGNORED), completion]))
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
    target = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
    if in_double:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].double()
        return nn.functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=IGNORED)
    result: Tensor = model(input_ids=ids, attention_mask=mask, labels=target, use_cache=False).loss
    return result


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten().float() for p in model.parameters() if p.grad is not None])


def check_same(
    model: nn.Module, batch: Batch, sides: dict[str, Callable[[nn.Module, Batch], Tensor]]
) -> dict[str, float]:
    losses, gradients = {}, {}
    judge = partial(padded_plain_loss, in_double=True)
    for name, loss_of in {**sides, "judge": judge}.items():
        model.zero_grad(set_to_none=True)
        loss = loss_of(model, batch)
        loss.backward()
        losses[name], gradients[name] = float(loss.detach()), gradient(model)
    want = gradients["judge"]
    errors = {
        name: (
            abs(losses[name] / losses["judge"] - 1),
            float((gradients[name] - want).norm() / want.norm()),
        )
        for name in sides
    }
    in_float32 = next(model.parameters()).dtype == torch.float32
    bounds = (1e-5, 5e-4) if in_float32 else (5e-3, 5e-2)
    for name, (loss_error, gradient_error) in errors.items():
        print(f"same work, {name}: loss off by {loss_error:.1e}, gradient by {gradient_error:.1e} of float64's")
        if loss_error > bounds[0] or gradient_error > bounds[1]:
            raise SystemExit(f"{name} does not compute the same thing")
    return {f"{name}_gradient_error": float(f"{error:.2g}") for name, (_, error) in errors.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=None, help="the recipe's if not given")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    arguments = parser.parse_args()
    recipe = load_recipe(RECIPE)
    size = arguments.batch_size or recipe.sft.batch_size
    loaded = load(ModelSettings(dtype=arguments.dtype), recipe.template)
    torch.manual_seed(recipe.seed)
    model = add_lora(base_of(loaded), recipe.sft.lora).train()
    with torch.no_grad():  # a fresh adapter's B is zero, and half of its gradient with it
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01)
    examples = quickstart_examples(loaded, arguments.batches, size)
    batches = [Batch.collate(part) for part in examples]
    sides = {"trie": trie_loss, "padded": padded_plain_loss, "padded_kernel": padded_kernel_loss}
    same = check_same(model, Batch.collate(examples[0][:8]), sides)

    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for batch in batches:
        for name, loss_of in sides.items():
            model.zero_grad(set_to_none=True)
            start = time.process_time()
            loss_of(model, batch).backward()
            seconds[name].append(time.process_time() - start)
        print({name: round(values[-1], 2) for name, values in seconds.items()}, flush=True)
    result = {
        "benchmark": "sft_padded",
        "dtype": str(base_of(loaded).dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "batch_size": size,
        "batches": len(batches),
        "nodes": sum(len(batch.trie) for batch in batches),
        "tokens_without_sharing": sum(batch.trie.tokens for batch in batches),
        "cpu_seconds_per_example": {k: round(sum(v) / (len(v) * size), 4) for k, v in seconds.items()},
        "ratio": ratios(seconds["padded"], seconds["trie"]),
        "ratio_same_head": ratios(seconds["padded_kernel"], seconds["trie"]),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1),
        **same,
    }
    print(json.dumps(result))


def ratios(slow: list[float], fast: list[float]) -> dict[str, float]:
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return {"median": round(statistics.median(each), 2), "low": round(min(each), 2), "high": round(max(each), 2)}


if __name__ == "__main__":
    main()
