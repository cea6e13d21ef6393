"""Stage 2: supervised fine-tuning on instruction data: of an adapter, or of all weights."""

from collections.abc import Sequence
from pathlib import Path

from xllms import stopping
from xllms.manifest import StageFolder, output_fingerprint
from xllms.models import load
from xllms.models.loading import base_of
from xllms.processes import is_main, say
from xllms.recipe import ModelSettings, SftSettings
from xllms.records import Instruction
from xllms.splits import read_split
from xllms.training.adapters import add_lora
from xllms.training.examples import encode_instructions
from xllms.training.objectives import sft
from xllms.training.seeding import seed_everything
from xllms.training.trainer import finish, train


def run(
    settings: SftSettings,
    model: ModelSettings,
    template: str,
    seed: int,
    instructions: Path,
    folder: Path,
    tracking: Sequence[str] = (),
) -> None:
    """Tune `model` on the train split of `instructions`; `adapter/` or `model/` and `metrics.jsonl` go into `folder`.

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
    loaded = load(model, template, trained="all" if settings.tuning == "full" else "nothing")
    seed_everything(seed)
    if settings.tuning == "lora":
        loaded.model = add_lora(base_of(loaded), settings.lora)
    if is_main():
        stage.begin()  # after what a corrected recipe would change: a typo leaves no folder behind
    training, validation = (
        encode_instructions(
            _records(instructions, split), loaded.template, settings.max_length, settings.too_long, settings.loss_on
        )
        for split in ("train", "validation")
    )
    warning = training.warning("sft", settings.max_length, settings.too_long)
    if warning:
        say(warning)
    with stopping.listen():  # not before: nothing would be lost
        counts = train("sft", loaded, sft, training.examples, validation.examples, settings, seed, folder, tracking)
        finish(stage, loaded, {**counts, "too_long": training.too_long})


def _records(instructions: Path, split: str) -> list[Instruction]:
    by_language = read_split(instructions, split, required=split == "train")
    return [record for records in by_language.values() for record in records]
