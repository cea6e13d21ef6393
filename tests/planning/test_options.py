"""Machines by name, prices and numbers of GPUs: what is wrong is one line that says what to write."""

import pytest

from xllms.errors import InputError
from xllms.planning import Options, find_gpu, read_gpus
from xllms.planning.gpus import all_gpus
from xllms.planning.speed import Run, peak, speed


def test_a_gpu_is_found_however_its_name_is_written() -> None:
    assert find_gpu("h100") == find_gpu("H-100") == find_gpu("H100 SXM")
    assert find_gpu("a100").memory_gb == 80
    assert find_gpu("RTX 4090") == find_gpu("4090")
    assert len(all_gpus()) >= 13


def test_the_data_sheets_are_in_order() -> None:
    for gpu in all_gpus():
        assert gpu.float32_tflops < gpu.tflops
        assert 0.2 < gpu.bandwidth_tbs < 10
        assert 16 <= gpu.memory_gb <= 192
    assert find_gpu("H200").bandwidth_tbs > find_gpu("H100").bandwidth_tbs > find_gpu("H100-PCIe").bandwidth_tbs


@pytest.mark.parametrize(("name", "near"), [("H1000", "H100"), ("A100-90", "A100-80"), ("L40", "L40S")])
def test_an_unknown_gpu_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"--gpu {name}: unknown GPU; did you mean .*{near}"):
        find_gpu(name)


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(InputError, match=r"there are A10, .*V100"):
        find_gpu("xyzzy")


def test_numbers_of_gpus() -> None:
    assert read_gpus("sft=4,dpo=8") == {"sft": 4, "dpo": 8}
    assert read_gpus("2") == {"sft": 2, "dpo": 2}
    assert read_gpus("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sfft=4", "there is no stage `sfft`"),
        ("feedback=4", "only sft and dpo share their work"),
        ("sft", "write STAGE=NUMBER"),
        ("sft=0", "`0` is no number of GPUs"),
        ("sft=-1", "`-1` is no number of GPUs"),
        ("0", "`0` is no number of GPUs"),
    ],
)
def test_bad_numbers_of_gpus(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_gpus(text)


@pytest.mark.parametrize("price", [-1.0, float("nan")])
def test_a_price_below_nothing(price: float) -> None:
    with pytest.raises(InputError, match=r"--price .*cannot be below 0"):
        Options(price=price)


@pytest.mark.parametrize("efficiency", [0.0, -0.1, 1.01, float("nan")])
def test_an_efficiency_that_cannot_be(efficiency: float) -> None:
    with pytest.raises(InputError, match=r"--efficiency .*above 0 and at most 1"):
        speed(find_gpu("H100"), efficiency, None, [])


def test_speed_by_the_data_sheet_is_said_to_be_assumed() -> None:
    h100 = find_gpu("H100")
    assumed = speed(h100, 0.5, None, [])
    assert assumed.of_training(989e12, 2, 1) == pytest.approx(2)
    assert assumed.of_training(989e12, 2, 4) == pytest.approx(0.5)
    assert assumed.source.startswith("ASSUMED: 50%")
    # One token of few answers waits for the weights to come from memory, of many for the products.
    assert assumed.of_asking(0, 1e9, 3.35e12, 2) == pytest.approx(2)
    assert assumed.of_asking(0, 989e12, 1, 2) == pytest.approx(2)


def test_speed_measured_on_one_gpu_is_carried_to_another() -> None:
    a100, h100 = find_gpu("A100-80"), find_gpu("H100")
    run = Run("sft", operations=312e12 * 0.3 * 10, seconds=10, processes=1, asks=False, wide=2)
    carried = speed(h100, None, a100, [run])
    assert carried.measured
    assert carried.efficiency == pytest.approx(0.3)
    assert carried.of_training(989e12 * 0.3, 2, 1) == pytest.approx(1)
    with pytest.raises(InputError, match="--measured-on: the run holds no finished"):
        speed(h100, None, a100, [])


def test_speed_of_the_machine_at_hand_needs_no_gpu_and_none_is_made_up() -> None:
    run = Run("sft", operations=1e12, seconds=10, processes=2, asks=False, wide=4)
    here = speed(None, None, None, [run])
    assert here.of_training(1e12, 4, 2) == pytest.approx(10)
    assert "measured in sft" in here.source
    unknown = speed(None, None, None, [])
    assert unknown.of_training(1e12, 2, 1) is None
    assert unknown.of_asking(1e12, 1e12, 1, 2) is None


def test_a_gpu_without_bfloat16_runs_at_its_float32_rate() -> None:
    assert peak(find_gpu("V100"), 2) == 15.7e12
    assert peak(find_gpu("H100"), 2) == 989e12
    assert peak(find_gpu("H100"), 4) == 67e12
