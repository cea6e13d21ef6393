"""Settings of stages 2 and 4, sft and dpo."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, model_validator

from xllms.recipe.base import Settings
from xllms.recipe.data import PreferenceFile


class LoraSettings(Settings):
    """Low-rank adapters."""

    r: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1, description="above 0 a shared prefix has one mask for all who share it")
    targets: Literal["attention", "all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="found for the architecture; or the ends of module names"
    )


class LanguageMix(Settings):
    """How often each language is drawn."""

    kind: Literal["natural", "temperature", "unimax"] = Field(
        "natural", description="natural: as the data are; temperature: counts to the power alpha; unimax: alike, capped"
    )
    alpha: float = Field(0.3, ge=0, le=1, description="temperature: 1 is natural, 0 is uniform")
    cap: float = Field(4.0, gt=0, description="unimax: passes over one language's examples at most")


class TrainingSettings(Settings):
    """What supervised fine-tuning and preference training share."""

    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1, description="stop after so many optimiser steps")
    batch_size: int = Field(32, ge=1, description="examples (or pairs) in one optimiser step, over all processes")
    token_budget: int | None = Field(
        None,
        ge=16,
        description="trie nodes in one forward pass of one process: what decides memory, not the result; "
        "none: 512 on a CPU, 8,192 elsewhere",
    )
    sampling: LanguageMix = LanguageMix()
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = Field(10, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_length: int = Field(1024, ge=8, description="tokens of prompt and completion")
    too_long: Literal["drop", "truncate"] = Field(
        "drop", description="what is over max_length: left out, or its completion cut off (and its end not learnt)"
    )
    gradient_checkpointing: bool = Field(
        False, description="keep one activation per layer and run each layer twice: about a third more compute"
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp", description="under torchrun: every process holds the whole model, or a shard of it (FSDP2)"
    )
    log_every: int = Field(10, ge=1)
    save_every: int = Field(50, ge=1, description="optimiser steps between checkpoints")
    validate_every: int | None = Field(None, ge=1, description="steps between validations; none: at the end only")


class SftSettings(TrainingSettings):
    """Stage 2: supervised fine-tuning."""

    tuning: Literal["lora", "full"] = Field("lora", description="an adapter, or all weights; dpo goes on with the same")
    loss_on: Literal["completion", "all"] = Field("completion", description="all: the prompt's tokens are learnt too")
    lora: LoraSettings = LoraSettings()


class PreferenceLoss(StrEnum):
    """A preference loss, with what it needs; the formulas are in `training/preference_losses.py`."""

    DPO = "dpo"
    DPO_NORM = "dpo_norm"
    IPO = "ipo"
    SIMPO = "simpo"
    ORPO = "orpo"
    CPO = "cpo"
    RANKING = "ranking"

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with the model before the first step."""
        return self not in (PreferenceLoss.SIMPO, PreferenceLoss.ORPO, PreferenceLoss.CPO)

    @property
    def length_normalised(self) -> bool:
        """Whether it works with log-probabilities per token: the same sentence costs Amharic three times the tokens."""
        return self in (PreferenceLoss.DPO_NORM, PreferenceLoss.IPO, PreferenceLoss.SIMPO, PreferenceLoss.ORPO)

    @property
    def takes_ranking(self) -> bool:
        """Whether it takes all ranked answers of a prompt instead of two."""
        return self is PreferenceLoss.RANKING

    @property
    def nll_weight(self) -> float:
        """Weight of the chosen answer's cross-entropy in the loss as published."""
        return 1.0 if self in (PreferenceLoss.ORPO, PreferenceLoss.CPO) else 0.0


class DpoSettings(TrainingSettings):
    """Stage 4: preference training; direct preference optimisation (Rafailov et al. 2023) if nothing else is said."""

    loss: PreferenceLoss = Field(
        PreferenceLoss.DPO,
        description="dpo, dpo_norm (per token), ipo, simpo, orpo, cpo; ranking: all answers of a prompt, LambdaLoss",
    )
    beta: float = Field(0.1, gt=0, description="how far from the reference; per-token losses want 2 and more")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of pairs taken to be labelled the wrong way")
    simpo_margin: float = Field(0.5, ge=0, description="simpo: reward by which the chosen must lead (gamma)")
    nll_weight: float | None = Field(
        None,
        ge=0,
        description="of the chosen answer's cross-entropy per token; none: the loss's own (orpo, cpo 1; else 0)",
    )
    learning_rate: float = Field(2e-5, gt=0)
    data: tuple[PreferenceFile, ...] = Field(
        (), description="pairs of your own, beside those of the feedback stage or, where it was never run, instead"
    )
    validation_share: float = Field(0.1, ge=0, le=0.5, description="of the pairs, held back by whole facts")

    @model_validator(mode="after")
    def _smoothing_has_a_pair(self) -> "DpoSettings":
        if self.label_smoothing and self.loss in (PreferenceLoss.IPO, PreferenceLoss.ORPO, PreferenceLoss.RANKING):
            raise ValueError(f"label_smoothing is not defined for loss: {self.loss}; set it to 0")
        return self
