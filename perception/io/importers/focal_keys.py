"""Official names of Focals Conv's backbones, beside those of the plain sparse encoder."""

from __future__ import annotations

import re

from perception.io.importers.key_rules import Rules

FOCAL_CONV: Rules = (
    (r"backbone_3d\.conv(\d)\.(\d)\.conv\.", r"backbone.stage\1.\2.spread.conv."),
    (r"backbone_3d\.conv(\d)\.(\d)\.bn1\.", r"backbone.stage\1.\2.spread.norm."),
    (r"backbone_3d\.conv(\d)\.(\d)\.conv_enlarge\.0\.", r"backbone.stage\1.\2.enlarge.conv."),
    (r"backbone_3d\.conv(\d)\.(\d)\.conv_enlarge\.1\.", r"backbone.stage\1.\2.enlarge.norm."),
    (r"backbone_3d\.conv(\d)\.(\d)\.conv_imp\.", r"backbone.stage\1.\2.importance."),
)
IMAGE_FOCAL_CONV: Rules = (
    (r"backbone_3d\.semseg\.ifn\.model\.backbone\.", "backbone.image.encoder."),
    (r"backbone_3d\.semseg\.reduce_blocks\.0\.conv\.", "backbone.image.reduce.0."),
    (r"backbone_3d\.semseg\.reduce_blocks\.0\.bn\.", "backbone.image.reduce.1."),
    (r"backbone_3d\.conv_focal_multimodal\.conv\.", "backbone.guided.spread.conv."),
    (r"backbone_3d\.conv_focal_multimodal\.bn1\.", "backbone.guided.spread.norm."),
    (r"backbone_3d\.conv_focal_multimodal\.conv_imp\.", "backbone.guided.importance."),
)
UNUSED_IMAGE_LAYERS = re.compile(r"backbone_3d\.semseg\.ifn\.model\.(backbone\.layer[234]|classifier|aux_classifier)\.")
"""The parts of DeepLabV3 behind the stage that Focals Conv reads: kept in its checkpoints for nothing."""
