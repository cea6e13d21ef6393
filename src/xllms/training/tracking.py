"""Trackers beside `metrics.jsonl`: TensorBoard, trackio, Weights & Biases, MLflow, through transformers' callbacks."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from xllms.errors import InputError


class Trackers:
    """Hands figures to each tracker; with none, does nothing.

    Args:
        names: some of tensorboard, trackio, wandb, mlflow.
        stage: name of the run.
        folder: of the stage; TensorBoard's files go to its `tensorboard/`.
        steps: optimiser steps of the run.
        model: for trackers that look at it.

    Raises:
        InputError: a tracker's package is not installed.
    """

    def __init__(self, names: Sequence[str], stage: str, folder: Path, steps: int, model: nn.Module) -> None:
        self._callbacks: list[Any] = []
        if not names:
            return
        for name in names:
            if importlib.util.find_spec(name) is None:
                raise InputError(f"tracking: {name}: not installed; run `pip install {name}`")
        self._callbacks = [callback() for callback in get_reporting_integration_callbacks(list(names))]
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
        self._arguments = TrainingArguments(
            output_dir=str(folder / "tracking"), run_name=f"{folder.parent.name}-{stage}", report_to=list(names)
        )
        self._state = TrainerState(max_steps=steps, is_world_process_zero=True, is_local_process_zero=True)
        self._tell("on_train_begin", model=model)

    def log(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Figures of one split at one step; those of each language as `loss/swh_Latn`."""
        if not self._callbacks:
            return
        prefix = "" if split == "train" else "eval_"
        flat = {f"{prefix}{key}": value for key, value in values.items() if isinstance(value, (int, float))}
        for code, figures in values.get("languages", {}).items():
            flat.update({f"{prefix}{key}/{code}": value for key, value in figures.items() if key != "n"})
        self._state.global_step = step
        self._tell("on_log", logs=flat)

    def close(self) -> None:
        """The run is over."""
        if self._callbacks:
            self._tell("on_train_end")

    def _tell(self, event: str, **kwargs: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(self._arguments, self._state, TrainerControl(), **kwargs)
