"""A run's adapter merged into its base model, for `xllms merge`: one folder that any library loads."""

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from xllms.errors import InputError
from xllms.generation import stage_model
from xllms.manifest import disk_error
from xllms.models import load
from xllms.processes import is_main


def merge(run: Path, output: Path, stage: str | None = None, dtype: str = "float32") -> Path:
    """Write base weights and adapter as one model, with tokenizer and template; only the main process does.

    Args:
        run: folder of a run.
        output: where to; must not exist.
        stage: sft or dpo; the last that is finished if None.
        dtype: of the written weights. The sum is taken in float32; bfloat16 rounds it, and an answer may change.

    Returns:
        `output`.

    Raises:
        InputError: no such run or stage, nothing to merge, `output` exists, an unknown dtype.
        XllmsError: the disk is full.
    """
    if not is_main():
        return output
    if dtype not in ("float32", "bfloat16", "float16"):
        raise InputError(f"--dtype {dtype}: use float32, bfloat16 or float16")
    if output.exists():
        raise InputError(f"{output}: is there already; name a folder that is not")
    name, folder, settings, template = stage_model(run, stage)
    if folder is None:
        raise InputError(f"{run}: `{name}` is the base model, it has no adapter; use --stage sft or dpo")
    # The sum goes onto the base's own weights, also where these were trained on in four bits.
    exact = settings.model_copy(update={"dtype": "float32", "quantization": "none", "device": "cpu"})
    loaded = load(exact, template, folder)
    model: Any = loaded.model
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    model = model.to(getattr(torch, dtype))
    work = output.with_name(f".part-{output.name}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        model.save_pretrained(work)
        loaded.template.tokenizer.save_pretrained(work)
        loaded.template.save(work)
        work.rename(output)
    except OSError as error:
        raise disk_error(error, output) from None
    return output
