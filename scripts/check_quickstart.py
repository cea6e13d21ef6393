"""Hold a finished quickstart to what it promises; exits 1 and says what is broken. Usage: check_quickstart.py RUN."""

import json
import sys
from pathlib import Path


def main(run: Path) -> int:
    facts = json.loads((run / "evaluation" / "scores.json").read_text(encoding="utf-8"))["benchmarks"]["facts"]
    base, sft, dpo = (facts["summary"][model] for model in ("base", "sft", "dpo"))
    paired = {row["metric"]: row for row in facts["comparisons"] if (row["a"], row["b"]) == ("sft", "dpo")}
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.glob("*/manifest.json"))]
    seconds = sum(manifest["seconds"] for manifest in manifests)
    memory = max(manifest["peak_memory_gb"] for manifest in manifests)
    print(f"{seconds:.0f} s in {len(manifests)} stages, {memory:.1f} GB at most")
    promises = {
        # The goal is 15 minutes on two quiet cores (docs/results/quickstart.md); a loaded machine gets some grace.
        "the stages take 25 minutes at most, on a loaded machine": seconds <= 1500,
        "a machine of 6 GB (2^30 bytes each) is enough": memory * 1e9 <= 6 * 2**30,
        "98 languages are measured": len(facts["languages"]) >= 98,
        "SFT at least doubles the base model's chrF++": sft["chrf"]["mean"] >= 2 * base["chrf"]["mean"],
        # Paired over languages: another CPU rounds otherwise, and a difference of a tenth may change its sign.
        "DPO is not clearly below SFT in chrF++": paired["chrf"]["high"] >= 0,
        "DPO is not clearly above SFT in off-target rate": paired["off_target"]["low"] <= 0,
        "DPO is off target less often than the base model": dpo["off_target"]["mean"] < base["off_target"]["mean"],
        "the report is there": (run / "report" / "report.html").stat().st_size > 100_000,
    }
    for promise, kept in promises.items():
        print(f"{'kept  ' if kept else 'BROKEN'}  {promise}")
    return 0 if all(promises.values()) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
