"""Stage 4: preference training of the SFT model on cross-lingual feedback, on pairs of the user's own, or on both.

The reference is the SFT model itself: its log-probabilities are computed once, before the first step, with the very
weights that are then trained, and kept on disk. There is no second copy of the model.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from xllms import stopping
from xllms.manifest import StageFolder, fingerprint, output_fingerprint, read_json, write_atomic
from xllms.models import Loaded, load
from xllms.models.loading import MODEL_FOLDER, base_of, tuned_folder
from xllms.packing.logprobs import token_logprobs
from xllms.processes import is_main, say
from xllms.progress import Progress
from xllms.recipe import DpoSettings, ModelSettings
from xllms.training import pairs
from xllms.training.examples import Batch, Example, encode_preferences
from xllms.training.parallel import Processes
from xllms.training.plan import Cost, deal, token_budget
from xllms.training.preference_losses import preference
from xllms.training.seeding import seed_everything
from xllms.training.trainer import finish, train


def run(
    settings: DpoSettings,
    model: ModelSettings,
    template: str,
    seed: int,
    sft: Path,
    feedback: Path,
    folder: Path,
    tracking: Sequence[str] = (),
    *,
    instructions: Path | None = None,
) -> None:
    """Align what `sft` tuned with pairs; `adapter/` or `model/` and `metrics.jsonl` go to `folder`.

    The pairs are those in `feedback` and those of `settings.data`; without the latter, `feedback` has to be finished.
    Of the latter, those are left out that the evaluation in `instructions` asks.

    Raises:
        InputError: no pairs, nothing tuned, a folder made with other settings.
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
        {"sft": output_fingerprint(sft), **pairs.inputs(settings, feedback, instructions)},
    )
    if stage.done:
        return
    records, sources = pairs.read_pairs(settings, feedback, instructions)
    if is_main():
        stage.begin()
    whole = tuned_folder(sft).name == MODEL_FOLDER
    loaded = load(model, template, sft, trained="all" if whole else "adapter")
    seed_everything(seed)
    encoded = encode_preferences(records, loaded.template, settings.max_length, settings.too_long)
    warning = encoded.warning("dpo", settings.max_length, settings.too_long)
    if warning:
        say(warning)
    examples = encoded.examples
    if settings.loss.needs_reference:
        examples = add_reference(examples, loaded, settings.token_budget, output_fingerprint(sft), folder)
    training, validation = _split(examples, settings.validation_share, seed)
    with stopping.listen():  # not before: nothing would be lost
        counts = train("dpo", loaded, preference(settings), training, validation, settings, seed, folder, tracking)
        finish(stage, loaded, {**counts, "too_long": encoded.too_long, "records": sources})


def add_reference(
    examples: Sequence[Example], loaded: Loaded, budget: int | None, weights: str, folder: Path
) -> list[Example]:
    """Log-probability of each sequence under the reference, from `folder/reference.json` if it is of the same content.

    Args:
        examples: pairs or rankings.
        loaded: the reference model.
        budget: trie nodes in one pass; None for what suits the device.
        weights: identity of the reference's weights, part of the cache's key.
        folder: where the cache is kept.
    """
    ids = [[(s.prompt, s.completion) for s in example.sequences] for example in examples]
    key = fingerprint({"weights": weights, "template": loaded.template.fingerprint, "ids": ids})
    path = folder / "reference.json"
    if path.exists() and (cached := read_json(path))["key"] == key:
        return [e.with_reference(values) for e, values in zip(examples, cached["logprobs"], strict=True)]
    if not examples:
        return []
    device = base_of(loaded).device
    processes = Processes(device)
    passes = deal(examples, range(len(examples)), Cost(token_budget(budget, device), 1.0), processes.size)[
        processes.rank
    ]
    own: dict[int, list[float]] = {}
    progress = Progress("reference", sum(map(len, passes)), "examples", quiet=not processes.main)
    with progress, torch.inference_mode():
        for members in filter(None, passes):
            batch = Batch.collate([examples[i] for i in members])
            sums = batch.trie.sum_by_sequence(token_logprobs(loaded.model, batch.trie, batching=loaded.batching))
            own.update({i: part.tolist() for i, part in zip(members, batch.by_example(sums), strict=True)})
            progress.advance(len(members), batch.languages[-1])
    found = {index: values for part in processes.gather(own) for index, values in part.items()}
    result = [example.with_reference(found[index]) for index, example in enumerate(examples)]
    if processes.main:
        write_atomic(path, json.dumps({"key": key, "logprobs": [e.reference for e in result]}))
    return result


def _split(examples: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """One fact stays on one side in all its languages: what is validated was never trained on.

    Facts come in a seeded order; one is held back where this brings the examples held closer to their share, so a fact
    of more than twice the share never is. Up to a share of a half, something is left to train on.
    """
    sizes = Counter(example.fact for example in examples)
    facts = sorted(sizes)
    random.Random(seed).shuffle(facts)
    held: set[str] = set()
    lacking = share * len(examples)
    for fact in facts:
        if abs(lacking - sizes[fact]) < abs(lacking):
            held.add(fact)
            lacking -= sizes[fact]
    training = [example for example in examples if example.fact not in held]
    return training, [example for example in examples if example.fact in held]
