"""A token report as an aligned table for the terminal; the page shows the same cells."""

from xllms.token_report.measuring import LanguageTokens, TokenReport

NONE = "-"


def columns(report: TokenReport) -> list[str]:
    """Heads of the table."""
    per_limit = [head for limit in report.max_lengths for head in (f">{limit}", f"lost@{limit}")]
    percentiles = [f"p{share}" for share in report.languages[0].lengths]
    return ["code", "language", "texts", "x English", "tok/word", "tok/char", "bytes/tok", "chars/tok", "tok/text"] + (
        percentiles + per_limit
    )


def cells(row: LanguageTokens) -> list[str]:
    """One language's row."""
    per_limit = [_percent(share) for limit in row.cut for share in (row.cut[limit], row.lost[limit])]
    fertility = f"{row.fertility:.2f}"
    return [
        row.code,
        row.name,
        f"{row.texts}",
        NONE if row.against_english is None else f"{row.against_english:.2f}",
        fertility if row.unit == "word" else NONE,
        fertility if row.unit == "character" else NONE,
        f"{row.bytes_per_token:.2f}",
        f"{row.characters_per_token:.2f}",
        f"{row.tokens_per_text:.1f}",
        *(f"{length}" for length in row.lengths.values()),
        *per_limit,
    ]


def notes(report: TokenReport) -> list[str]:
    """What the figures mean, a sentence each."""
    compared = max((row.parallel for row in report.languages), default=0)
    return [
        f"tokenizer {report.model} ({report.vocabulary:,} tokens), template {report.template}; the dearest first",
        "x English: tokens against those of the same texts in English"
        + (f", up to {compared} of them" if compared else "; there are no parallel English texts here"),
        "tok/word and, in scripts without spaces, tok/char: of the response alone",
        "p50, p95, p99: tokens of prompt, response and end; >N: share of texts longer than N; "
        "lost@N: share of all tokens past N",
    ]


def format_table(report: TokenReport) -> str:
    """The table and its notes, ending in a line break."""
    rows = [columns(report), *(cells(row) for row in report.languages)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *notes(report)]) + "\n"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
