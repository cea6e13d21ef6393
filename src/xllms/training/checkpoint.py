"""Checkpoints: what a training run needs to go on, written by every process, whole only with `complete` in them.

Weights and optimizer state are kept as torch's distributed checkpoints, which read back on any number of processes;
steps do not depend on that number either, so a run may go on with more or fewer. Learning rate and order of examples
are functions of the step and need no state.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from xllms.errors import XllmsError
from xllms.manifest import read_json, write_atomic
from xllms.training.parallel import Processes

_COMPLETE = "complete"
_ROOM = 64 << 20  # below this many free bytes a failed write is put down to a full disk
_KEPT = 2
_OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in `folder` that was written to its end."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """Optimiser steps done when it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizer: Optimizer, facts: Mapping[str, Any], processes: Processes
) -> None:
    """Write `folder/checkpoint-<step>` and let go of all but the newest two.

    Args:
        folder: of all checkpoints of the stage.
        step: optimiser steps done.
        model: its trained parameters are kept.
        optimizer: over these.
        counts: further numbers to go on from.
        processes: all must call this.

    Raises:
        XllmsError: the disk is full or cannot be written.
    """
    target = folder / f"checkpoint-{step}"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(_state(model, optimizer), checkpoint_id=target)
    except Exception as error:
        if shutil.disk_usage(folder if folder.exists() else folder.parent).free < _ROOM:
            raise XllmsError(
                f"{folder}: no space left on the disk for a checkpoint; free some and run the same command again"
            ) from None
        if not isinstance(error, (OSError, RuntimeError, ValueError, CheckpointException)):
            raise
        raise XllmsError(f"{target}: a checkpoint cannot be written: {error}") from None
    processes.barrier()
    if processes.main:
        write_atomic(target / _COMPLETE, json.dumps(facts))
        for old in sorted(folder.glob("checkpoint-*"), key=step_of)[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(checkpoint: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Take up weights and optimizer state; returns the facts that were kept with them."""
    state = _state(model, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(state, checkpoint_id=checkpoint)  # the weights in place
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=_OPTIONS)
    facts: dict[str, Any] = read_json(checkpoint / _COMPLETE)
    return facts


def _state(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    # Not get_model_state_dict: of a frozen matrix that is input embedding and head it leaves out one name only.
    return {
        "model": {name: p.detach() for name, p in model.named_parameters() if p.requires_grad},
        "optimizer": get_optimizer_state_dict(model, optimizer, options=_OPTIONS),
    }
