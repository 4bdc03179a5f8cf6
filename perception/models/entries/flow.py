"""Models of scene flow."""

from __future__ import annotations

from perception.models.deflow import DeFlow, DeFlowConfig
from perception.models.entries.entry import Entry
from perception.models.fastflow3d import FastFlow3D, FastFlow3DConfig
from perception.models.ssf import LONG_RANGE, SSF, SSFConfig
from perception.models.ssf import SMALL as SSF_SMALL

FLOW: dict[str, Entry] = {
    "ssf": Entry(
        SSF,
        SSFConfig(),
        "flow",
        "SSF (ICRA 2025): sparse scene flow on the voxels of two scans, 51 m around",
        {"opensceneflow": "ssf"},
    ),
    "ssf-long": Entry(
        SSF,
        LONG_RANGE,
        "flow",
        "SSF (ICRA 2025): sparse scene flow on the voxels of two scans, 205 m around",
        {"opensceneflow": "ssf"},
    ),
    "ssf-small": Entry(SSF, SSF_SMALL, "flow", "SSF for embedded GPUs and CPUs: a tenth of the weights, 51 m around"),
    "deflow": Entry(
        DeFlow,
        DeFlowConfig(),
        "flow",
        "DeFlow (ICRA 2024): dense pillars, recurrent refinement of each point's flow, 51 m around",
        {"opensceneflow": "deflow"},
    ),
    "fastflow3d": Entry(
        FastFlow3D,
        FastFlow3DConfig(),
        "flow",
        "FastFlow3D (RA-L 2021): dense pillars and a linear head, 51 m around",
        {"opensceneflow": "fastflow3d"},
    ),
}
