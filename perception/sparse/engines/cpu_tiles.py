"""Tiles of matrix products in vector registers, written as LLVM code that numba compiles for the processor at hand.

A loop in numba leaves three quarters of a core's multiplications unused here, because sums go through memory. These
tiles hold sums in registers: ``ROWS`` rows by one or two vectors of ``LANES`` columns, the largest that fits. Vectors
wider than the machine's are split by the compiler, so the same code runs on AVX2 and on ARM.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))

LANES = 16
"""Columns of one vector: 16 float32 are one AVX-512 register, two of AVX2 or four of ARM."""
ROWS = 8 if _WIDE else 6
"""Rows of a tile. 8 x 2 vectors use half of AVX-512's 32 registers, 6 x 16 floats 12 of AVX2's 16: a tile must leave
room for the weights, and hold eight sums or more to hide the four cycles of a multiplication."""
VECTORS = 2 if _WIDE else 1
"""Vectors of a wide tile."""

_INT64, _INT32, _POINTER = ir.IntType(64), ir.IntType(32), ir.PointerType()
_REAL = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
_SUFFIX = {"float32": "f32", "float64": "f64"}


class _Emitter:
    """Short words for the few instructions that a tile consists of."""

    def __init__(self, builder: Any, real: str) -> None:
        self.builder, self.real = builder, _REAL[real]
        self.size = 4 if real == "float32" else 8
        self.vector = ir.VectorType(self.real, LANES)
        name = f"llvm.fmuladd.v{LANES}{_SUFFIX[real]}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self._multiply_add = cgutils.get_or_insert_function(builder.module, kind, name)

    def pointer(self, address: Any) -> Any:
        return self.builder.inttoptr(address, _POINTER)

    def number(self, value: int) -> Any:
        return ir.Constant(_INT64, value)

    def at(self, base: Any, index: Any) -> Any:
        return self.builder.gep(base, [index], source_etype=self.real)

    def row(self, base: Any, rows: Any, index: Any, stride: Any) -> Any:
        """Where row ``rows[index]`` of a matrix begins."""
        number = self.builder.load(self.builder.gep(rows, [index], source_etype=_INT32), typ=_INT32, align=4)
        return self.at(base, self.builder.mul(self.builder.sext(number, _INT64), stride))

    def load(self, base: Any, vectors: int) -> list[Any]:
        places = [self.at(base, self.number(v * LANES)) for v in range(vectors)]
        return [self.builder.load(place, typ=self.vector, align=self.size) for place in places]

    def store(self, values: list[Any], base: Any) -> None:
        for v, value in enumerate(values):
            self.builder.store(value, self.at(base, self.number(v * LANES)), align=self.size)

    def spread(self, place: Any) -> Any:
        """One number in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(
            undefined, self.builder.load(place, typ=self.real, align=self.size), ir.Constant(_INT32, 0)
        )
        lanes = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
        return self.builder.shuffle_vector(one, undefined, lanes)

    def multiply_add(self, factor: Any, values: list[Any], sums: list[Any]) -> list[Any]:
        return [self.builder.call(self._multiply_add, [factor, v, s]) for v, s in zip(values, sums)]

    def repeat(self, count: Any, sums: list[list[Any]], body: Any) -> list[list[Any]]:
        """``sums = body(index, sums)`` for index 0 .. count - 1, count 1 or more, the sums staying in registers."""
        builder = self.builder
        before = builder.block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(_INT64)
        index.add_incoming(self.number(0), before)
        held = [[builder.phi(self.vector) for _ in row] for row in sums]
        for phis, starts in zip(held, sums):
            for phi, start in zip(phis, starts):
                phi.add_incoming(start, before)
        new = body(index, held)
        following = builder.add(index, self.number(1))
        index.add_incoming(following, loop)
        for phis, values in zip(held, new):
            for phi, value in zip(phis, values):
                phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        builder.position_at_end(after)
        return new


def product_tile(vectors: int) -> Any:
    """``y[to[r]] += x[of[r]] @ w`` for ``ROWS`` pairs of rows and ``vectors * LANES`` columns.

    Arguments are an array whose type of numbers counts and nothing else of it; the addresses of x, of w (depth,
    columns) dense, of y at the first column, of the rows ``of`` and ``to`` (int32); then the depth and the numbers
    between rows of x and of y.
    """

    @intrinsic
    def tile(_context, like, x, w, y, of, to, depth, x_stride, y_stride):
        def emit(context, builder, signature, arguments):
            code = _Emitter(builder, signature.args[0].dtype.name)
            x, w, y, of, to = (code.pointer(address) for address in arguments[1:6])
            depth, x_stride, y_stride = arguments[6:]
            numbers = [code.number(r) for r in range(ROWS)]
            sources = [code.row(x, of, r, x_stride) for r in numbers]
            targets = [code.row(y, to, r, y_stride) for r in numbers]

            def step(index: Any, sums: list[list[Any]]) -> list[list[Any]]:
                weights = code.load(code.at(w, builder.mul(index, code.number(vectors * LANES))), vectors)
                return [
                    code.multiply_add(code.spread(code.at(source, index)), weights, row)
                    for source, row in zip(sources, sums)
                ]

            # From zero and added once: half the rounding of sums that run through all taps, for the same memory.
            zero = ir.Constant(code.vector, [0.0] * LANES)
            for values, target in zip(code.repeat(depth, [[zero] * vectors for _ in targets], step), targets):
                before = code.load(target, vectors)
                code.store([builder.fadd(a, b) for a, b in zip(before, values)], target)
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 8), emit

    return tile


def outer_tile(rows: int, vectors: int) -> Any:
    """``w[:rows, :columns] += sum over pairs p of outer(x[of[p], :rows], y[to[p], :columns])``.

    Arguments are an array whose type of numbers counts; the addresses of x and y at the tile's first column, of w at
    its first number, of the rows ``of`` and ``to`` (int32); then the number of pairs (1 or more) and the numbers
    between rows of x, y and w.
    """

    @intrinsic
    def tile(_context, like, x, y, w, of, to, pairs, x_stride, y_stride, w_stride):
        def emit(context, builder, signature, arguments):
            code = _Emitter(builder, signature.args[0].dtype.name)
            x, y, w, of, to = (code.pointer(address) for address in arguments[1:6])
            pairs, x_stride, y_stride, w_stride = arguments[6:]
            targets = [code.at(w, builder.mul(w_stride, code.number(r))) for r in range(rows)]

            def step(index: Any, sums: list[list[Any]]) -> list[list[Any]]:
                source = code.row(x, of, index, x_stride)
                values = code.load(code.row(y, to, index, y_stride), vectors)
                factors = [code.spread(code.at(source, code.number(r))) for r in range(rows)]
                return [code.multiply_add(factor, values, row) for factor, row in zip(factors, sums)]

            for values, target in zip(code.repeat(pairs, [code.load(t, vectors) for t in targets], step), targets):
                code.store(values, target)
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 9), emit

    return tile
