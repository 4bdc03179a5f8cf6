"""HOTFormerLoc's checkpoints: every published configuration is told by its shapes and loads strictly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.families import family_of
from perception.io.importers.hotformerloc import importer as hotformerloc
from perception.io.importers.hotformerloc.keys import depthwise_kernel, sparse_kernel
from perception.models.hotformerloc import HOTFormerLoc

SIZES = {
    "cs-wild-places": 35_371_176,
    "wild-places": 35_313_124,
    "cs-campus3d": 35_415_236,
    "oxford": 35_329_992,
}


def official_state(golden: Path, name: str) -> dict[str, Tensor]:
    state = {}
    for line in (golden / "keys" / f"hotformerloc_{name}.txt").read_text().splitlines():
        key, shape = line.split(" ", 1)
        state[key] = torch.zeros([int(size) for size in shape.strip("()").split(",") if size.strip()])
    return state


@pytest.mark.parametrize("name", SIZES)
def test_published_keys_load_strictly(shared_golden: Path, name: str) -> None:
    state = official_state(shared_golden, name)
    assert family_of(state) == "hotformerloc"
    plan = hotformerloc.plan(state, None, None, "checkpoint")
    assert plan.name == f"hotformerloc-{name}"
    assert "non-commercial" in plan.notes[0]
    model = plan.make()
    assert isinstance(model, HOTFormerLoc)
    assert sum(p.numel() for p in model.parameters()) == SIZES[name]
    report = plan.load(model, state, "checkpoint")
    assert len(report.mapped) == len(state) == len(model.state_dict())
    assert report.notes == plan.notes


def test_another_configuration_is_refused(shared_golden: Path) -> None:
    state = official_state(shared_golden, "oxford")
    plan = hotformerloc.plan(state, "hotformerloc-cs-wild-places", None, "checkpoint")
    with pytest.raises(PerceptionError, match="does not fit HOTFormerLoc"):
        plan.load(plan.make(), state, "checkpoint")
    with pytest.raises(PerceptionError, match="no HOTFormerLoc importer for 'second'"):
        hotformerloc.plan(state, "second", None, "checkpoint")
    with pytest.raises(PerceptionError, match="keys of HOTFormerLoc"):
        hotformerloc.plan({"weight": torch.zeros(1)}, None, None, "checkpoint")


def test_kernels_turn_from_x_slowest_to_z_slowest() -> None:
    taps = torch.arange(27.0)
    turned = sparse_kernel(taps.view(27, 1, 1))
    assert turned.shape == (1, 3, 3, 3, 1)
    assert turned[0, 0, 1, 2, 0] == 2 * 9 + 1 * 3 + 0  # z 0, y 1, x 2
    assert depthwise_kernel(taps.view(27, 1, 1))[0, 0, 1, 2] == 21
    assert sparse_kernel(torch.arange(8.0).view(8, 1, 1))[0, 1, 0, 0, 0] == 1
