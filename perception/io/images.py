"""Camera images as tensors."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError

MAXIMUM_PIXELS = 100_000_000


def read_image(path: str | Path) -> Tensor:
    """(3, H, W) float32 red green blue in [0, 1] of a PNG file, or of another format that matplotlib reads.

    Grey images are repeated, transparency is left out. Raises PerceptionError for files that are no image, or of more
    than a hundred megapixels.
    """
    from PIL import Image  # matplotlib's own reader

    try:
        with Image.open(path) as header:  # reads no pixels yet
            width, height = header.size
        if width * height > MAXIMUM_PIXELS:
            raise PerceptionError(f"{path} claims {width} x {height} pixels", f"up to {MAXIMUM_PIXELS:,} in all")
        pixels = matplotlib.image.imread(str(path))
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", "a camera image", "check the layout of the data set") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0]
        raise PerceptionError(f"{path} cannot be read as an image: {reason}", "a PNG or JPEG file") from None
    if pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    colours = pixels[:, :, None].repeat(3, 2) if pixels.ndim == 2 else pixels[:, :, :3]
    if colours.shape[2] != 3:  # grey with transparency
        colours = colours[:, :, :1].repeat(3, 2)
    return torch.from_numpy(np.ascontiguousarray(colours.transpose(2, 0, 1), np.float32))
