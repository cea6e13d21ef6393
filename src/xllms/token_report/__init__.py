"""What each language costs in tokens, `xllms tokens`: a tokenizer and data, no model.

A tokenizer that needs several times as many tokens for a sentence as for the English one makes training slower,
max_length shorter and per-token losses lower in that language; it is worth knowing before a run.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from xllms.errors import InputError
from xllms.languages import resolve
from xllms.manifest import write_atomic
from xllms.prompting import PromptTemplate
from xllms.token_report.measuring import MAX_LENGTHS, LanguageTokens, TokenReport, token_report
from xllms.token_report.page import chart, page
from xllms.token_report.table import format_table
from xllms.token_report.texts import Text, read_texts

__all__ = ["LanguageTokens", "Text", "TokenReport", "format_table", "main", "read_texts", "token_report", "write"]


def write(report: TokenReport, folder: Path) -> None:
    """Write the report as `tokens.txt`, `tokens.json`, `tokens.svg` and `tokens.html`.

    Raises:
        XllmsError: the folder cannot be written.
    """
    write_atomic(folder / "tokens.txt", format_table(report))
    write_atomic(folder / "tokens.json", json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n")
    write_atomic(folder / "tokens.svg", chart(report))
    write_atomic(folder / "tokens.html", page(report))


def main(
    model: str,
    data: Path,
    template: str = "alpaca",
    max_lengths: Sequence[int] = MAX_LENGTHS,
    out: Path | None = None,
    *,
    language: str = "",
    languages: Sequence[str] = (),
) -> str:
    """Count a data set's tokens with a model's tokenizer.

    Args:
        model: `gemma3-270m`, a hub id or a local folder.
        data: see `read_texts`.
        template: alpaca or chat.
        max_lengths: to tell what each would cut off.
        out: folder for the files; none writes nothing.
        language: of the responses in a file whose rows do not name it.
        languages: groups, codes or names to keep; none keeps all.

    Returns:
        The table.

    Raises:
        InputError: no such tokenizer, data, template or language.
    """
    if template not in ("alpaca", "chat"):
        raise InputError(f"unknown template {template!r}; there are alpaca and chat")
    kept = {one.code for one in resolve(languages)}
    texts = (text for text in read_texts(data, language) if not kept or text.language in kept)
    from xllms.models.loading import load_tokenizer
    from xllms.recipe import ModelSettings

    prompt = PromptTemplate(load_tokenizer(ModelSettings(name=model)), "chat" if template == "chat" else "alpaca")
    report = token_report(texts, prompt, model, max_lengths)
    table = format_table(report)
    if out is None:
        return table
    write(report, out)
    return f"{table}\n{out / 'tokens.html'}\n"
