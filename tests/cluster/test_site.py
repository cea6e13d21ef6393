"""clusters.yaml: what it may say, and what is said about a mistake in it."""

from pathlib import Path

import pytest

from xllms.cluster.job import resources
from xllms.cluster.site import Site, find_site
from xllms.errors import InputError


def site(folder: Path, text: str) -> Site:
    path = folder / "clusters.yaml"
    path.write_text(text, encoding="utf-8")
    return find_site("mine", path)


@pytest.mark.parametrize(
    ("said", "minutes"), [("12h", 720), ("90m", 90), ("2d", 2880), ("'12:30'", 750), ("1-00:00:00", 1440), ("45", 45)]
)
def test_times(tmp_path: Path, said: str, minutes: int) -> None:
    assert site(tmp_path, f"mine: {{scheduler: slurm, time: {said}}}").time == minutes


@pytest.mark.parametrize(("said", "megabytes"), [("64G", 65536), ("512 MB", 512), ("1.5g", 1536), ("2T", 2 << 20)])
def test_sizes(tmp_path: Path, said: str, megabytes: int) -> None:
    assert site(tmp_path, f"mine: {{scheduler: slurm, memory: {said}}}").memory == megabytes


def test_a_stage_takes_what_it_says_and_the_site_the_rest(tmp_path: Path) -> None:
    found = site(
        tmp_path,
        "mine:\n  scheduler: lsf\n  gpus_per_node: 4\n  time: 24h\n  queue: batch\n"
        "  stages:\n    dpo: {gpus: 8, time: 48h}\n    report: {queue: short}\n",
    )
    dpo = resources(found, "dpo")
    assert (dpo.nodes, dpo.gpus, dpo.processes, dpo.minutes, dpo.queue) == (2, 4, 4, 2880, "batch")
    sft, report = resources(found, "sft"), resources(found, "report")
    assert (sft.nodes, sft.gpus, sft.minutes) == (1, 1, 1440)
    assert (report.gpus, report.queue) == (0, "short")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mine: {scheduler: slurmm}", "'slurm', 'lsf' or 'local'"),
        ("mine:\n  scheduler: slurm\n  quue: x", "clusters.yaml:3: unknown key `quue`; did you mean `queue`?"),
        ("mine: {scheduler: slurm, time: soon}", "a time such as 90m"),
        ("mine: {scheduler: slurm, memory: much}", "a size such as 64G"),
        ("mine: {scheduler: slurm, gpus: 2}", "gpus_per_node is 0"),
        ("mine: {scheduler: slurm, gpus_per_node: 4, stages: {dpo: {gpus: 6}}}", "dpo: 6 GPUs do not fill nodes of 4"),
        ("mine: {scheduler: slurm, time: 2m}", "make time longer"),
        ("mine: {scheduler: slurm, stages: {spt: {gpus: 6}}}", "spt"),
        ("other: {scheduler: slurm}", "no cluster `mine`; there are other, local"),
        ("mien: {scheduler: slurm}", "did you mean `mien`?"),
        ("mine: [1]", "is a mapping"),
        ("- a", "is a YAML mapping"),
        ("mine: {", "not valid YAML"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        site(tmp_path, text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_a_file_only_local_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XLLMS_CLUSTERS", raising=False)
    assert find_site("local").scheduler == "local"
    with pytest.raises(InputError, match=r"no clusters\.yaml here"):
        find_site("mine")
