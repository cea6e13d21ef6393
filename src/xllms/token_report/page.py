"""A token report as one bar per language: an SVG that stands alone, and a page that holds it and the table."""

from collections.abc import Iterable

from markupsafe import Markup

from xllms.token_report.measuring import LanguageTokens, TokenReport
from xllms.token_report.table import cells, columns, notes

_WIDTH, _ROW, _NAME, _FIGURE, _TOP = 760, 17, 190, 60, 46
_COLOURS = Markup(":root{{color-scheme:light dark;{}}}@media(prefers-color-scheme:dark){{:root{{{}}}}}").format(
    Markup("--paper:#fdfdfc;--ink:#1c2128;--muted:#5b6470;--rule:#c9c9c2;--bar:#1a6fb0"),
    Markup("--paper:#15181c;--ink:#e4e7ea;--muted:#a0a8b2;--rule:#464d57;--bar:#6cb6f2"),
)
# The first of two colours is for programs that do not know var(), such as those that put an SVG into a paper.
_CHART = Markup(
    "svg text{font:12px 'Noto Sans',system-ui,sans-serif;fill:#1c2128;fill:var(--ink)}"
    "svg .muted{fill:#5b6470;fill:var(--muted)}svg .title{font-weight:600;font-size:14px}"
    "svg .bar{fill:#1a6fb0;fill:var(--bar)}svg .grid{stroke:#c9c9c2;stroke:var(--rule)}"
    "svg .ground{fill:#fdfdfc;fill:var(--paper)}"
)
_PAGE = Markup(
    "body{margin:2rem auto;max-width:76rem;padding:0 1rem;font:16px/1.5 'Noto Sans',system-ui,sans-serif;"
    "background:var(--paper);color:var(--ink)}svg{width:100%;max-width:760px;height:auto}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:.2rem .6rem .2rem 0;text-align:end;white-space:nowrap}thead th{border-bottom:1px solid var(--rule)}"
    "th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:start}"
    "p{color:var(--muted);margin:.2rem 0}"
)


def chart(report: TokenReport) -> Markup:
    """The bars as an SVG document of its own: cost against English, or tokens per text where nothing is parallel."""
    parallel = any(row.against_english is not None for row in report.languages)
    rows = [row for row in report.languages if not parallel or row.against_english is not None]
    values = [_value(row, parallel) for row in rows]
    scale = (_WIDTH - _NAME - _FIGURE) / max(*values, 1.0)
    height = _TOP + _ROW * len(rows) + 12
    what = "tokens for the same text, English = 1" if parallel else "tokens per text"
    title = f"{report.model}: {what}"
    opening = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" '
        'aria-label="{2}"><style>{3}{4}</style><rect class="ground" width="{0}" height="{1}"/>'
        '<text class="title" x="8" y="22">{2}</text>'
    ).format(_WIDTH, height, title, _COLOURS, _CHART)
    bars = _join(_bar(index, row, value, scale) for index, (row, value) in enumerate(zip(rows, values, strict=True)))
    return opening + bars + (_mark(scale, height) if parallel else Markup("")) + Markup("</svg>\n")


def _value(row: LanguageTokens, parallel: bool) -> float:
    return (row.against_english or 0.0) if parallel else row.tokens_per_text


def _bar(index: int, row: LanguageTokens, value: float, scale: float) -> Markup:
    y = _TOP + _ROW * index
    return Markup(
        '<g><title>{name} ({code}): {value:.2f}; {fertility:.2f} tokens per {unit}</title>'
        '<text x="{edge}" y="{base}" text-anchor="end">{name}</text>'
        '<rect class="bar" x="{x}" y="{top}" width="{width:.1f}" height="11" rx="2"/>'
        '<text class="muted" x="{end:.1f}" y="{base}">{value:.2f}</text></g>'
    ).format(
        name=row.name, code=row.code, value=value, fertility=row.fertility, unit=row.unit, edge=_NAME - 8, base=y + 11,
        x=_NAME, top=y + 1, width=value * scale, end=_NAME + value * scale + 6,
    )  # fmt: skip


def _mark(scale: float, height: int) -> Markup:
    """The line at English's own cost."""
    return Markup(
        '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
        '<text class="muted" x="{0:.1f}" y="{3}" text-anchor="middle">English</text>'
    ).format(_NAME + scale, _TOP - 4, height - 8, _TOP - 8)


def page(report: TokenReport) -> str:
    """One HTML file that loads nothing."""
    head = _row("th", columns(report))
    body = _join(_row("td", cells(row)) for row in report.languages)
    said = _join(Markup("<p>{}</p>").format(note) for note in notes(report))
    return Markup(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width"><title>{0}</title><style>{1}{2}</style></head>\n'
        '<body><h1>{0}</h1>{3}\n{4}\n<div class="wide"><table><thead>{5}</thead>\n<tbody>{6}</tbody></table></div>'
        "</body></html>\n"
    ).format(f"Tokens per language: {report.model}", _COLOURS, _PAGE, said, chart(report), head, body)


def _row(tag: str, texts: Iterable[str]) -> Markup:
    cell = Markup(f"<{tag}>{{}}</{tag}>")
    return Markup("<tr>") + _join(cell.format(text) for text in texts) + Markup("</tr>\n")


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)
