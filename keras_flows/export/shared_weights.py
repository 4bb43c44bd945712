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

    graph, nodes, kept = model.graph, [], []
    bases = defaultdict(list)
    for tensor in graph.initializer:
        form = None
        array = numpy_helper.to_array(tensor)
        if array.ndim > 1 and array.nbytes >= _LEAST_BYTES:
            same = bases[array.dtype, np.sort(array, axis=None).tobytes()]
            found = ((name, _form(base, array)) for name, base in same)
            name, form = next((one for one in found if one[1] is not None), (None, None))
            if form is None:
                same.append((tensor.name, array))
        if form is None:
            kept.append(tensor)
        else:
            nodes += _nodes(name, *form, tensor.name)
            kept += _bounds(tensor.name, form[1])
    nodes += graph.node
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


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
