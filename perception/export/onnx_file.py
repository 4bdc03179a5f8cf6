"""Graphs as ONNX files of standard operators, and what is wrong with one that is not."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from perception.errors import PerceptionError, missing_extra
from perception.export.graphs.network import Graph

# ScatterElements takes a maximum from this opset on, and LayerNormalization is an operator from 17.
OLDEST_OPSET = 18
DEFAULT_OPSET = 18


def check_opset(opset: int) -> None:
    onnx = import_onnx()
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise PerceptionError(
            f"opset {opset}",
            f"{OLDEST_OPSET} to {newest}: older ones have no ScatterElements with a maximum",
            f"use --opset {DEFAULT_OPSET}",
        )


def traced(graph: Graph, arrays: dict[str, torch.Tensor]) -> torch.export.ExportedProgram:
    """The graph for any number of rows, in torch's own form of exported programs."""
    from torch.export import Dim

    names = {axis for spec in graph.inputs for axis in spec.shape if isinstance(axis, str)}
    lengths = {name: Dim(name, min=2, max=2**31 - 1) for name in sorted(names)}
    dims = tuple(
        {axis: lengths[length] for axis, length in enumerate(spec.shape) if isinstance(length, str)}
        for spec in graph.inputs
    )
    given = tuple(arrays[spec.name].clone() for spec in graph.inputs)
    with torch.no_grad():
        return torch.export.export(graph.module.eval(), given, dynamic_shapes={"tensors": dims}, strict=False)


def write_onnx(graph: Graph, program: torch.export.ExportedProgram, path: Path, opset: int = DEFAULT_OPSET) -> None:
    """Translate, strip what says where it was made, check, and write."""
    onnx = import_onnx()
    check_opset(opset)
    made = _translated(graph, program, opset)
    _strip(made)
    check_operators(made)
    onnx.checker.check_model(made, full_check=True)
    path.write_bytes(made.SerializeToString())


def check_operators(model: Any) -> None:
    """PerceptionError for an operator outside the standard, or newer than the file's opset, and an opset too old."""
    onnx = import_onnx()
    version = opset_of(model)
    if version < OLDEST_OPSET:
        raise PerceptionError(
            f"a graph of opset {version}", f"{OLDEST_OPSET} or newer", "export the model again with this version"
        )
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, max_inclusive_version=version):
            raise PerceptionError(
                f"the operator {node.domain or 'ai.onnx'}::{node.op_type} in {node.name or 'an unnamed node'}",
                f"operators of the ONNX standard, opset {version}",
                "write that part of the model in other operators",
            )


def opset_of(model: Any) -> int:
    found = [part.version for part in model.opset_import if part.domain in ("", "ai.onnx")]
    return int(found[0]) if found else 0


def read_onnx(path: Path) -> Any:
    onnx = import_onnx()
    try:
        return onnx.load(str(path))
    except Exception as error:  # protobuf's errors have no common class
        raise PerceptionError(
            f"{path} is no readable ONNX file: {error}", "an undamaged file", "copy it again"
        ) from None


def import_onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise missing_extra("onnx", "export") from None
    return onnx


def _translated(graph: Graph, program: torch.export.ExportedProgram, opset: int) -> Any:
    names = [spec.name for spec in graph.inputs], [spec.name for spec in graph.outputs]
    try:
        with quiet():
            found = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=names[0],
                output_names=names[1],
                external_data=False,
                verbose=False,
            )
    except ImportError:
        raise missing_extra("onnxscript", "export") from None
    except Exception as error:
        raise _unsupported(program, error) from error
    assert found is not None
    return found.model_proto


def _unsupported(program: torch.export.ExportedProgram, error: BaseException) -> PerceptionError:
    """Name the operator and the part of the model, where the chain of errors names the operator."""
    text, step = "", error
    chain: BaseException | None = step
    while chain is not None:
        text += f"{chain}\n"
        chain = chain.__cause__
    found = re.search(r"OpOverload\(op='([\w.:]+)'", text) or re.search(r"target=torch\.ops\.([\w.]+)", text)
    if found is None:
        return PerceptionError(f"the translation to ONNX failed: {error}", "operators that ONNX has")
    name = found.group(1)
    return PerceptionError(
        f"the operator {name} in {part_of(program, name)} has no form in ONNX",
        "operators of the ONNX standard",
        "write that part of the model in other operators",
    )


def part_of(program: torch.export.ExportedProgram, operator: str) -> str:
    """The submodule that calls an operator, as far as the traced program tells."""
    short = operator.replace("::", ".").split(".")[1] if "." in operator.replace("::", ".") else operator
    for node in program.graph.nodes:
        if node.op == "call_function" and short in str(node.target):
            stack = node.meta.get("nn_module_stack") or {}
            paths = [path for path, _ in stack.values() if path]
            return paths[-1] if paths else "the model itself"
    return "the model"


def _strip(model: Any) -> None:
    """Leave out traces of the machine that made the file; nodes keep the names of their parts."""
    model.doc_string = ""
    del model.metadata_props[:]
    model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        scopes = [prop.value for prop in node.metadata_props if prop.key == "pkg.torch.onnx.name_scopes"]
        part = _part(scopes[0]) if scopes else ""
        if part:
            node.name = f"{part}/{node.name or node.op_type}"
        node.doc_string = ""
        del node.metadata_props[:]
    for values in (model.graph.input, model.graph.output, model.graph.value_info, model.graph.initializer):
        for value in values:
            value.doc_string = ""
            del value.metadata_props[:]


def _part(scopes: str) -> str:
    """The innermost module of torch's list of scopes."""
    found = re.findall(r"'([\w.]+)'", scopes)
    return found[-2] if len(found) > 1 else ""


@contextlib.contextmanager
def quiet() -> Any:
    """Without the exporter's progress and its remarks on packages that are not there."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
