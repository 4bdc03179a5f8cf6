"""Two processes with a batch each learn what one process learns from both batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from perception.training.data import Batch, collate
from perception.training.fit import build
from perception.training.module import DetectionTraining
from perception.training.settings import check_experiment


class Losses(nn.Module):
    """The training step as a forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, module: DetectionTraining) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> Tensor:
        return self.module.losses(batch)["loss"]


def prepared(tiny: dict[str, Any]) -> DetectionTraining:
    """With normalisation by running statistics: those of a batch differ between one batch and two, by definition."""
    module = build(check_experiment(tiny, "test"))
    for part in module.model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    return module


def gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None]


def run(rank: int, tiny: dict[str, Any], folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    module = prepared(tiny)
    wrapped = DistributedDataParallel(Losses(module))
    wrapped(collate([module.train_data[(0, 2 * rank + i)] for i in range(2)])).backward()
    torch.save(gradients(module), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_gradients_are_those_of_the_double_batch(tiny: dict[str, Any], tmp_path: Path) -> None:
    module = prepared(tiny)
    module.losses(collate([module.train_data[(0, i)] for i in range(4)]))["loss"].backward()
    alone = gradients(module)
    torch.multiprocessing.spawn(run, (tiny, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert len(alone) == len(first) > 20
    assert max(g.abs().max().item() for g in alone) > 1e-3
    for whole, one, other in zip(alone, first, second):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, whole, atol=1e-6, rtol=1e-4)
