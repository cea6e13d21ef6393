"""Stage 2: supervised fine-tuning of an adapter on instruction data."""

from pathlib import Path

from xllms.manifest import StageFolder, output_fingerprint
from xllms.models import load
from xllms.models.loading import base_of
from xllms.recipe import ModelSettings, SftSettings
from xllms.records import Instruction
from xllms.splits import read_split
from xllms.training.adapters import add_lora, save_adapter
from xllms.training.examples import encode_instructions
from xllms.training.objectives import sft
from xllms.training.seeding import seed_everything
from xllms.training.trainer import train


def run(
    settings: SftSettings, model: ModelSettings, template: str, seed: int, instructions: Path, folder: Path
) -> None:
    """Tune `model` on the train split of `instructions`; writes `adapter/` and `metrics.jsonl` into `folder`.

    Raises:
        InputError: no data, a LoRA target that matches nothing, a folder made with other settings.
    """
    stage = StageFolder(
        folder,
        "sft",
        {
            "sft": settings.model_dump(mode="json"),
            "model": model.model_dump(mode="json"),
            "template": template,
            "seed": seed,
        },
        {"instructions": output_fingerprint(instructions)},
    )
    if stage.done:
        return
    loaded = load(model, template)
    seed_everything(seed)
    loaded.model = add_lora(base_of(loaded), settings.lora)
    stage.begin()  # after what a corrected recipe would change: a typo leaves no folder behind
    training, validation = (
        encode_instructions(_records(instructions, split), loaded.template, settings.max_length)
        for split in ("train", "validation")
    )
    counts = train("sft", loaded, sft, training.examples, validation.examples, settings, seed, folder)
    files = save_adapter(loaded.model, loaded.template, folder / "adapter")
    stage.finish({**counts, "too_long": training.too_long}, files)


def _records(instructions: Path, split: str) -> list[Instruction]:
    by_language = read_split(instructions, split, required=split == "train")
    return [record for records in by_language.values() for record in records]
