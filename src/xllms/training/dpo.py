"""Stage 4: direct preference optimisation of the SFT adapter on cross-lingual feedback.

The reference is the SFT model itself: its log-probabilities are computed once, before the first step, with the very
weights that are then trained, and kept on disk. There is no second copy of the model.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch

from xllms.errors import InputError
from xllms.manifest import StageFolder, fingerprint, output_fingerprint, read_json, write_atomic
from xllms.models import Loaded, load
from xllms.models.loading import base_of, load_adapter
from xllms.packing.logprobs import token_logprobs
from xllms.progress import Progress
from xllms.recipe import DpoSettings, ModelSettings
from xllms.records import Preference, read_jsonl
from xllms.training.adapters import save_adapter
from xllms.training.examples import Batch, Example, encode_preferences
from xllms.training.objectives import dpo
from xllms.training.seeding import seed_everything
from xllms.training.trainer import batches, train


def run(
    settings: DpoSettings,
    model: ModelSettings,
    template: str,
    seed: int,
    sft: Path,
    feedback: Path,
    folder: Path,
) -> None:
    """Align the adapter in `sft` with the pairs in `feedback`; writes `adapter/` and `metrics.jsonl` into `folder`.

    Raises:
        InputError: no pairs, no SFT adapter, a folder made with other settings.
    """
    stage = StageFolder(
        folder,
        "dpo",
        {
            "dpo": settings.model_dump(mode="json"),
            "model": model.model_dump(mode="json"),
            "template": template,
            "seed": seed,
        },
        {"sft": output_fingerprint(sft), "feedback": output_fingerprint(feedback)},
    )
    if stage.done:
        return
    stage.begin()
    loaded = load(model, template)
    loaded.template.check(sft / "adapter")
    seed_everything(seed)
    loaded.model = load_adapter(base_of(loaded), sft / "adapter", trainable=True).eval()
    encoded = encode_preferences(_read_pairs(feedback), loaded.template, settings.max_length)
    examples = add_reference(encoded.examples, loaded, settings.batch_size, output_fingerprint(sft), folder)
    training, validation = _split(examples, settings.validation_share, seed)
    counts = train("dpo", loaded, dpo(settings.beta, settings.nll_weight), training, validation, settings, seed, folder)
    files = save_adapter(loaded.model, loaded.template, folder / "adapter")
    stage.finish({**counts, "too_long": encoded.too_long}, files)


def add_reference(
    examples: Sequence[Example], loaded: Loaded, batch_size: int, weights: str, folder: Path
) -> list[Example]:
    """Log-probability of each sequence under the reference, from `folder/reference.json` if it is of the same content.

    Args:
        examples: pairs.
        loaded: the reference model.
        batch_size: examples in one pass.
        weights: identity of the reference's weights, part of the cache's key.
        folder: where the cache is kept.
    """
    ids = [[(s.prompt, s.completion) for s in example.sequences] for example in examples]
    key = fingerprint({"weights": weights, "template": loaded.template.fingerprint, "ids": ids})
    path = folder / "reference.json"
    if path.exists() and (cached := read_json(path))["key"] == key:
        return [e.with_reference(values) for e, values in zip(examples, cached["logprobs"], strict=True)]
    result: list[Example] = []
    with Progress("reference", len(examples), "pairs") as progress, torch.inference_mode():
        for part in batches(examples, batch_size):
            trie = Batch.collate(part).trie
            sums = trie.sum_by_sequence(token_logprobs(loaded.model, trie, batching=loaded.batching))
            rows = sums.view(len(part), -1).tolist()
            result += [example.with_reference(row) for example, row in zip(part, rows, strict=True)]
            progress.advance(len(part), part[-1].language)
    write_atomic(path, json.dumps({"key": key, "logprobs": [e.reference for e in result]}))
    return result


def _read_pairs(feedback: Path) -> list[Preference]:
    pairs = [
        record for path in sorted((feedback / "preferences").glob("*.jsonl")) for record in read_jsonl(path, Preference)
    ]
    if not pairs:
        raise InputError(f"{feedback / 'preferences'}: no preference pairs; run `xllms feedback RECIPE` first")
    return pairs


def _split(examples: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """One fact stays on one side in all its languages: what is validated was never trained on."""
    facts = sorted({example.fact for example in examples})
    held = set(random.Random(seed).sample(facts, round(share * len(facts))))
    training = [example for example in examples if example.fact not in held]
    return training, [example for example in examples if example.fact in held]
