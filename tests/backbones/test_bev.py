"""The bird's-eye-view backbone where maps come back at other sizes than by whole factors up."""

from __future__ import annotations

import torch
from torch import nn

from perception.backbones.bev import BEVBackbone


def test_levels_shrink_stay_and_grow_to_one_size() -> None:
    bev = BEVBackbone(4, (0, 0, 0), (2, 2, 2), (4, 8, 8), (0.5, 1, 2), (3, 3, 3)).eval()
    assert bev(torch.randn(1, 4, 32, 48)).shape == (1, 9, 8, 12)
    first, second, third = (up[0] for up in bev.ups)  # type: ignore[index]
    assert isinstance(first, nn.Conv2d)
    assert first.kernel_size == first.stride == (2, 2)
    assert isinstance(second, nn.ConvTranspose2d)
    assert isinstance(third, nn.ConvTranspose2d)


def test_a_convolution_for_no_stride_is_the_same_function() -> None:
    transposed = BEVBackbone(4, (1,), (1,), (6,), (1,), (5,)).eval()
    plain = BEVBackbone(4, (1,), (1,), (6,), (1,), (5,), conv_for_no_stride=True).eval()
    state = transposed.state_dict()
    assert state["ups.0.0.weight"].shape == (6, 5, 1, 1)
    plain.load_state_dict({**state, "ups.0.0.weight": state["ups.0.0.weight"].transpose(0, 1)})
    x = torch.randn(2, 4, 7, 9)
    torch.testing.assert_close(plain(x), transposed(x))
