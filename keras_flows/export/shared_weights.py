"""Weights that an ONNX graph holds in several forms, held once."""

import itertools
from collections import defaultdict

import numpy as np

# Below, the nodes that make a form take as much room as what they save.
_LEAST_BYTES = 1024


def share(model):
    """Lets a graph compute those of its weights that are others, transposed or reversed.

    The pullback of a product or a convolution has the weights of the forward map in another order,
    and TensorFlow folds both into constants. They become nodes `Transpose` and `Slice` (with steps
    of -1) of one of them: half a file, and no time but in loading, when onnxruntime folds them.

    Args:
        model: An `onnx.ModelProto`, which is changed.
    """
    from onnx import numpy_helper

    graph, nodes, kept, known = model.graph, [], [], defaultdict(list)
    for tensor in graph.initializer:
        found = _found(known, tensor.name, numpy_helper.to_array(tensor))
        if found is None:
            kept.append(tensor)
        else:
            base, order, axes = found
            nodes += _nodes(base, order, axes, tensor.name)
            kept += _bounds(tensor.name, axes)
    nodes += graph.node
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def _found(known, name, array):
    """The name of a weight that makes an array, and how; None, and it is known, if none does."""
    if array.ndim < 2 or array.nbytes < _LEAST_BYTES:
        return None
    # What no order changes, and hardly two weights have in common.
    ends = array.min().tobytes(), array.max().tobytes()
    same = known[(array.dtype, *sorted(array.shape), *ends)]
    for base, other in same:
        form = _form(other, array)
        if form is not None:
            return base, *form
    same.append((name, array))
    return None


def _form(base, array):
    """The order of the axes, and those then reversed, that make an array of another, or None."""
    for order in itertools.permutations(range(base.ndim)):
        made = base.transpose(order)
        if made.shape != array.shape:
            continue
        for flips in itertools.product((False, True), repeat=base.ndim):
            axes = tuple(axis for axis, flip in enumerate(flips) if flip)
            if all(array.shape[axis] > 1 for axis in axes) and _equal(np.flip(made, axes), array):
                return order, axes
    return None


def _equal(a, b):
    """Whether arrays are equal bit by bit: -0.0 is not 0.0, NaN is itself."""
    return a.tobytes() == b.tobytes()


def _nodes(base, order, axes, name):
    """Nodes from the name of a base to that of the array made of it."""
    from onnx.helper import make_node

    turned = f"{name}/turned" if axes else name
    nodes = [make_node("Transpose", [base], [turned], perm=order)]
    if axes:
        bounds = [f"{name}/{bound}" for bound in ("starts", "ends", "axes", "steps")]
        nodes.append(make_node("Slice", [turned, *bounds], [name]))
    return nodes


def _bounds(name, axes):
    """The constants of the `Slice` that reverses these axes."""
    from onnx import numpy_helper

    if not axes:
        return []
    n = len(axes)
    # The end before the first element is any number below minus the size.
    values = {
        "starts": [-1] * n,
        "ends": [np.iinfo(np.int64).min] * n,
        "axes": axes,
        "steps": [-1] * n,
    }
    return [
        numpy_helper.from_array(np.array(value, np.int64), f"{name}/{bound}")
        for bound, value in values.items()
    ]
