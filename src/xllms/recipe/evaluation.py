"""Settings of stage 5, evaluation."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from xllms.recipe.base import Settings


class EvaluationSettings(Settings):
    """Stage 5: base, SFT and DPO model, every language."""

    languages: tuple[str, ...] = Field(("hundred",), min_length=1, description="groups, codes or names")
    benchmarks: tuple[Literal["facts", "xcopa"], ...] = Field(("facts",), min_length=1)
    data: Path | None = Field(None, description="folder with the files of benchmarks that ship none, such as xcopa/")
    xcopa_languages: tuple[str, ...] = Field(
        ("en", "et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"),
        min_length=1,
        description="folders of XCOPA; each must have its file",
    )
    xcopa_split: Literal["validation", "test"] = "validation"
    batch_languages: int = Field(8, ge=1, description="languages whose items are answered together: one unit of work")
    max_new_tokens: int = Field(32, ge=1)
    limit: int | None = Field(None, ge=1, description="items per language at most")

    @model_validator(mode="after")
    def _needs_data(self) -> "EvaluationSettings":
        if "xcopa" in self.benchmarks and self.data is None:
            raise ValueError("xcopa needs its files: set evaluation.data (or --data) to the folder that holds xcopa/")
        return self
