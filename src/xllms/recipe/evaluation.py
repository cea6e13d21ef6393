"""Settings of stage 5, evaluation."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from xllms.recipe.base import Settings

Protocol = Literal["standard", "paper"]
Way = Literal["ranked", "written"]
BENCHMARKS = (
    "facts",
    "paws_x",
    "xcopa",
    "flores",
    "xl_sum",
    "self_instruct",
    "belebele",
    "global_mmlu",
    "mgsm",
    "language_confusion",
)
MODELS = ("base", "sft", "dpo")
_SHIPPED = frozenset({"facts"})


class BenchmarkOptions(Settings):
    """What may be set for one benchmark; what is left out is as its protocol has it."""

    path: Path | None = Field(None, description="folder of its files, instead of evaluation.data/NAME")
    hub: str | None = Field(None, min_length=3, description="hub data set instead of files, such as cambridgeltl/xcopa")
    split: str | None = Field(None, min_length=1, description="validation, test, ...")
    ways: tuple[Way, ...] = Field(
        (), description="ranked: choices by likelihood; written: an answer is read and parsed"
    )
    shots: int = Field(0, ge=0, description="solved examples in front")
    limit: int | None = Field(None, ge=1, description="items per language at most")
    max_new_tokens: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_place(self) -> "BenchmarkOptions":
        if self.path and self.hub:
            raise ValueError("path and hub name two places for one benchmark; keep one")
        return self


class FloresOptions(BenchmarkOptions):
    """Translation: which ways."""

    directions: tuple[Literal["from_english", "to_english", "pairs"], ...] = ("from_english", "to_english")
    pairs: tuple[str, ...] = Field((), description="further pairs, such as swh_Latn-fra_Latn, for `pairs`")
    comet: str | None = Field(None, description="COMET model for unbabel-comet's `comet-score`, where it is installed")
    comet_command: str = Field(
        "comet-score", min_length=1, description="how it is called, such as comet/bin/comet-score"
    )
    comet_gpus: int = Field(0, ge=0, description="that COMET may use; 0: the CPU")


class XlSumOptions(BenchmarkOptions):
    """Summaries: how much of an article is shown."""

    article_characters: int = Field(
        6000, ge=1, description="of an article at most, from its beginning; what does not fit the model is refused"
    )


class JudgeOptions(Settings):
    """An engine that holds answers against those of a baseline, asked in both orders."""

    engine: str = Field(min_length=1, description="one of `engines`")
    baseline: str = Field("base", min_length=1, description="model whose answers the others are held against")
    max_new_tokens: int = Field(256, ge=1)


class EvaluationSettings(Settings):
    """Stage 5: base, SFT and DPO model, every language."""

    languages: tuple[str, ...] = Field(("hundred",), min_length=1, description="groups, codes or names")
    protocol: Protocol = Field("standard", description="paper: the authors' prompts and samples; standard: today's")
    benchmarks: tuple[str, ...] = Field(
        ("facts",), min_length=1, description=f"{', '.join(BENCHMARKS)}, or a file of one's own: ./mine.py"
    )
    data: Path | None = Field(None, description="folder with the files of benchmarks that ship none, such as xcopa/")
    models: tuple[str, ...] = Field((), description="base, sft, dpo; none: all that are there")
    engines: tuple[str, ...] = Field(
        (), description="of `engines`: asked beside the run's models, where answers are written"
    )
    max_new_tokens: int = Field(32, ge=1, description="of facts; other benchmarks have their own")
    limit: int | None = Field(None, ge=1, description="items per language at most")
    batch_items: int = Field(80, ge=1, description="items that are asked together: one unit of work")
    judge: JudgeOptions | None = Field(None, description="for self_instruct")
    paws_x: BenchmarkOptions = BenchmarkOptions()
    xcopa: BenchmarkOptions = BenchmarkOptions()
    flores: FloresOptions = FloresOptions()
    xl_sum: XlSumOptions = XlSumOptions()
    self_instruct: BenchmarkOptions = BenchmarkOptions()
    belebele: BenchmarkOptions = BenchmarkOptions()
    global_mmlu: BenchmarkOptions = BenchmarkOptions()
    mgsm: BenchmarkOptions = BenchmarkOptions()
    language_confusion: BenchmarkOptions = BenchmarkOptions()
    own: BenchmarkOptions = Field(BenchmarkOptions(), description="for files of one's own")

    def options(self, benchmark: str) -> BenchmarkOptions:
        """Options of one benchmark by name."""
        found = getattr(self, benchmark, None) if benchmark in BENCHMARKS else self.own
        return found if isinstance(found, BenchmarkOptions) else BenchmarkOptions()

    @model_validator(mode="after")
    def _known(self) -> "EvaluationSettings":
        for name in self.benchmarks:
            if name not in BENCHMARKS and not name.endswith(".py"):
                raise ValueError(
                    f"benchmarks: there is no `{name}`; there are {', '.join(BENCHMARKS)}, or a file of your own "
                    "that ends in .py"
                )
        return self

    @model_validator(mode="after")
    def _once(self) -> "EvaluationSettings":
        for key in ("benchmarks", "models", "engines"):
            names = getattr(self, key)
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"{key}: `{twice}` stands twice")
        if unknown := next((name for name in self.models if name not in MODELS), None):
            raise ValueError(f"models: there is no `{unknown}`; a run has {', '.join(MODELS)}, others are `engines`")
        return self

    @model_validator(mode="after")
    def _has_data(self) -> "EvaluationSettings":
        for name in self.benchmarks:
            options = self.options(name)
            if name in _SHIPPED or name.endswith(".py") or self.data or options.path or options.hub:
                continue
            raise ValueError(
                f"{name} needs its files: set evaluation.data (or --data) to the folder that holds {name}/, or "
                f"evaluation.{name}.hub to a data set of the hub"
            )
        return self
