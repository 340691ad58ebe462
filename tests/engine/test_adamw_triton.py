"""The Triton kernel in Triton's interpreter, which runs it with NumPy; on a GPU `benchmarks/gpu.py` checks it."""

import pytest
import torch

from avtune.engine import optimizer
from avtune.engine.optimizer import AdamW
from benchmarks._agreement import adamw_apart


@pytest.fixture
def interpreted(monkeypatch, triton_interpreter):
    from avtune.engine.adamw_triton import update

    monkeypatch.setattr(optimizer, "_KERNEL", None)
    monkeypatch.setattr(optimizer, "_triton", lambda device: update)


@pytest.mark.usefixtures("interpreted")
def test_equals_torch_adamw_for_every_lane():
    assert adamw_apart(dtype=torch.float32, kernel=None) < 2e-6


@pytest.mark.usefixtures("interpreted")
def test_rows_of_a_wider_tensor_are_updated_and_nothing_else():
    """The small parameters of a block of lanes are a slice of a stack."""
    wide = [torch.rand(4, 50) for _ in range(4)]
    wanted = [x.clone() for x in wide]
    steps, lr, decay = torch.tensor([1, 7]), torch.tensor([0.1, 0.01]), torch.tensor([0.0, 0.1])
    for tensors, kernel in ((wide, None), (wanted, False)):
        side = AdamW(kernel=kernel)
        p, g, m, v = (x[1:3, :30] if kernel is None else x[1:3, :30].contiguous() for x in tensors)
        rates = side.rates(steps, lr, decay)
        if kernel is None:
            optimizer._triton(p.device)(p, g, m, v, rates.factors_L3, (0.9, 0.999), 1e-8)
        else:
            side.update(p, g, m, v, rates)
            for whole, part in zip(tensors, (p, g, m, v), strict=True):
                whole[1:3, :30] = part
    for found, right in zip(wide, wanted, strict=True):
        assert torch.allclose(found, right, rtol=1e-6, atol=1e-7)


def test_a_kernel_that_is_wrong_is_refused():
    why = optimizer._why_not(torch.device("cpu"), lambda *_: None)
    assert why.startswith("its results differ by")
    assert optimizer._why_not(torch.device("cpu"), optimizer.by_operations) == ""


def test_without_triton_a_line_says_so_and_the_operations_are_used(monkeypatch, caplog):
    def missing():
        raise ImportError("no compiler for Triton's launcher\nand a second line")

    monkeypatch.setattr(optimizer, "_load", missing)
    assert optimizer._triton.__wrapped__(torch.device("cuda", 0)) is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "AdamW: torch's operations are used, the Triton kernel is not: ImportError: no compiler for Triton's launcher"
    )
