"""Unaligned reads and writes for the compiled loops. Callers must check bounds.

A processor needs one or two instructions for each; a loop over bytes, or over the fields of a packed record, takes
several times as long.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


def _place(context: Any, builder: Any, array_type: Any, array: Any, at: Any, width: Any) -> Any:
    """Return a pointer of type `width` to byte `at` of a uint8 array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), width.as_pointer())


def _copy_16(_: Any, target: Any, at: Any, source: Any, place: Any) -> Any:
    """Copy 16 bytes between uint8 arrays, or within one: all are read before any is written."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sixteen = ir.VectorType(ir.IntType(8), 16)
        loaded = builder.load(_place(context, builder, signature.args[2], args[2], args[3], sixteen))
        loaded.align = 1
        builder.store(loaded, _place(context, builder, signature.args[0], args[0], args[1], sixteen)).align = 1
        return context.get_dummy_value()

    return types.void(target, at, source, place), generate


def _put_8(_: Any, target: Any, at: Any, value: Any) -> Any:
    """Write an int64 as 8 bytes of a uint8 array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        eight = ir.IntType(64)
        builder.store(args[2], _place(context, builder, signature.args[0], args[0], args[1], eight)).align = 1
        return context.get_dummy_value()

    return types.void(target, at, value), generate


copy_16: Any = intrinsic(_copy_16)
put_8: Any = intrinsic(_put_8)
