"""Weights of torchvision's ResNet-50, alone or inside DeepLabV3, for the image branch of Focals Conv-F."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.backbones.image import ImageEncoder
from perception.io.importers.openpcdet.importer import ImportReport
from perception.io.weights import load_strictly

LATER = re.compile(r"(layer[234]|fc|classifier|aux_classifier)\.")


def load_image_encoder(encoder: ImageEncoder, state: Mapping[str, Tensor], where: str = "checkpoint") -> ImportReport:
    """Load the stem and the first stage, strictly; the report lists what lies behind them as unused.

    ``state`` as ``resnet50`` or ``deeplabv3_resnet50`` of torchvision saves it. The published detectors start from the
    latter's weights for COCO.
    """
    ours = {key: key.removeprefix("backbone.") for key in state}
    unused = tuple(key for key, name in ours.items() if LATER.match(name))
    mapped = {key: name for key, name in ours.items() if key not in set(unused)}
    load_strictly(encoder, {name: state[key] for key, name in mapped.items()}, where)
    return ImportReport(mapped, (), unused)
