"""Build `src/xllms/instructions/length_ratios.csv`: characters of a translation for each of the English, by script.

    python scripts/build_length_ratios.py ../shared/data/flores200/dev510.tsv.xz

From the 510 sentences of FLORES-200 dev in all 204 other languages; only figures go into the table. All languages of
a script are pooled. `low` and `high` are the 1st and the 99th percentile over sentences.
"""

import csv
import lzma
import sys
from pathlib import Path
from statistics import quantiles

TABLE = Path(__file__).resolve().parent.parent / "src" / "xllms" / "instructions" / "length_ratios.csv"
PIVOT = "eng_Latn"


def ratios(path: Path) -> dict[str, list[float]]:
    """Length over the English sentence's length, of every sentence, by script."""
    by_script: dict[str, list[float]] = {}
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            for code, text in row.items():
                if "_" in code and code != PIVOT and text and row[PIVOT]:
                    by_script.setdefault(code.partition("_")[2], []).append(len(text) / len(row[PIVOT]))
    return by_script


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: python {sys.argv[0]} dev510.tsv.xz")
    rows = []
    for script, values in sorted(ratios(Path(sys.argv[1])).items()):
        cuts = quantiles(values, n=100, method="inclusive")
        rows.append((script, len(values), *(f"{cuts[percent - 1]:.3f}" for percent in (1, 50, 99))))
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("script", "sentences", "low", "median", "high"))
        writer.writerows(rows)
    print(f"{TABLE.name}: {len(rows)} scripts")


if __name__ == "__main__":
    main()
