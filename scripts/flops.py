"""Floating-point operations of a TensorFlow graph: those of its products, from their shapes.

Counted are matrix products, convolutions and their derivatives, inside functions and loops too; a
multiplication and an addition are two operations. What is done element by element is not counted:
it is bound by memory. TensorFlow's own profiler counts no einsum and nothing inside a function or a
loop, and of a batch of unknown size nothing at all.
"""

import math


def count(graph, trips=1.0):
    """The operations of a graph.

    Args:
        graph: A `tf.Graph`, all shapes known, such as that of a concrete function.
        trips: How often the body of a `while` runs, where it does not say so itself.

    Returns:
        A float.
    """
    return sum(_of(op, graph, trips) for op in graph.get_operations())


def _of(op, graph, trips):
    if op.type in _COUNTED:
        return _COUNTED[op.type](op)
    if op.type in ("PartitionedCall", "StatefulPartitionedCall"):
        return count(_body(op, "f", graph), trips)
    if op.type in ("While", "StatelessWhile"):
        return trips * count(_body(op, "body", graph), trips)
    if op.type in ("If", "StatelessIf"):
        branches = ("then_branch", "else_branch")
        return max(count(_body(op, branch, graph), trips) for branch in branches)
    return 0.0


def _body(op, attribute, graph):
    name = op.get_attr(attribute).name
    while graph is not None:
        function = graph._get_function(name)
        if function is not None:
            return function.graph
        graph = getattr(graph, "outer_graph", None)
    raise ValueError(f"The graph has no function {name!r}, which {op.name} calls.")


def _size(shape):
    if not shape.is_fully_defined():
        raise ValueError(f"Operations are counted from known shapes only; one is {shape}.")
    return math.prod(shape.as_list())


def _matmul(op):
    shape = op.inputs[0].shape
    inner = shape[-2 if op.get_attr(_transposed(op)) else -1]
    return 2.0 * _size(op.outputs[0].shape) * inner


def _transposed(op):
    return "transpose_a" if op.type == "MatMul" else "adj_x"


def _einsum(op):
    letters = {}
    left = op.get_attr("equation").decode().split("->")[0].split(",")
    for term, tensor in zip(left, op.inputs, strict=True):
        letters |= dict(zip(term, tensor.shape.as_list(), strict=True))
    # One operand is a sum, not a product.
    return (2.0 if len(left) > 1 else 0.0) * math.prod(letters.values())


def _kernel_products(kernel, output):
    """Every number of the output is a sum over the kernel but for its last axis."""
    return 2.0 * _size(output) * math.prod(kernel.as_list()[:-1])


def _conv(op):
    return _kernel_products(op.inputs[1].shape, op.outputs[0].shape)


def _conv_input(op):
    return _kernel_products(op.inputs[1].shape, op.inputs[2].shape)


def _conv_filter(op):
    return _kernel_products(op.outputs[0].shape, op.inputs[2].shape)


_COUNTED = {
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Einsum": _einsum,
    "Conv2D": _conv,
    "Conv2DBackpropInput": _conv_input,
    "Conv2DBackpropFilter": _conv_filter,
}
