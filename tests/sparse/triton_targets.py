"""The Triton kernels compile for GPUs of several generations; test_triton_engine.py runs this file. It needs no GPU.

Compiled is what the engine would ask for: its tiles, warps and stages for the shape.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from perception.sparse.engines import triton_depthwise, triton_depthwise_kernels, triton_kernels
from perception.sparse.engines.triton_blocks import default

NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


def compiled(loop: str, shape: tuple[int, int], dtype: torch.dtype, precision: str, capability: int) -> Any:
    blocks = default(loop, *shape, dtype)  # type: ignore[arg-type]
    kernel = triton_kernels.gather_product if loop == "product" else triton_kernels.outer_product
    constants = {
        "FUSED": True,
        "RECTIFY": True,
        "PRECISION": precision,
        "WIDEN": False,
        "ROWS": blocks.rows,
        "DEPTH": blocks.depth,
        "COLUMNS": blocks.columns,
        "weight_depth": 1,
    }
    types = {"rows": "*i32", "scale": "*fp32", "shift": "*fp32", "partial": "*fp32"}
    types |= dict.fromkeys(("x", "y", "weight", "gradient"), f"*{NAMES[dtype]}")
    types |= dict.fromkeys(constants, "constexpr")
    names = kernel.arg_names
    signature = {name: types.get(name, "i32") for name in names}
    values = {(names.index(name),): value for name, value in constants.items() if name in names}
    aligned = {(place,): [["tt.divisibility", 16]] for place, name in enumerate(names) if signature[name][0] == "*"}
    return triton.compile(
        ASTSource(kernel, signature, values, aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": blocks.warps, "num_stages": blocks.stages},
    )


@pytest.mark.parametrize("capability", [80, 87, 90])
@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(torch.float32, "ieee"), (torch.float32, "tf32"), (torch.float16, "ieee"), (torch.bfloat16, "ieee")],
)
@pytest.mark.parametrize("loop", ["product", "outer"])
def test_compiles(loop: str, dtype: torch.dtype, precision: str, capability: int) -> None:
    for shape in ((5, 16), (64, 128)):
        found = compiled(loop, shape, dtype, precision, capability)
        assert found.metadata.shared <= 48 * 1024
        code = found.asm["ptx"]
        assert not re.search(r"\b(atom|red)\.", code)
        exact = (dtype, precision) == (torch.float32, "ieee")
        assert ("mma" in code) is not exact  # tensor cores round float32 to TF32, so exact sums must not see them


@pytest.mark.parametrize("capability", [80, 87, 90])
@pytest.mark.parametrize("dtype", list(NAMES))
@pytest.mark.parametrize("name", ["gather_scale", "correlate"])
def test_depthwise_compiles(name: str, dtype: torch.dtype, capability: int) -> None:
    kernel = getattr(triton_depthwise_kernels, name)
    constants = {"ROWS": triton_depthwise.ROWS, "COLUMNS": 64}
    types = {"rows": "*i32", "partial": "*fp32", "ROWS": "constexpr", "COLUMNS": "constexpr"}
    types |= dict.fromkeys(("x", "y", "weight", "gradient"), f"*{NAMES[dtype]}")
    names = kernel.arg_names
    signature = {argument: types.get(argument, "i32") for argument in names}
    values = {(names.index(argument),): value for argument, value in constants.items()}
    found = triton.compile(ASTSource(kernel, signature, values), target=GPUTarget("cuda", capability, 32))
    assert not re.search(r"\b(atom|red)\.", found.asm["ptx"])
