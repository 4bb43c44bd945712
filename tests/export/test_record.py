import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.errors import ExportError
from keras_flows.export import graphs, record


def test_inputs_whose_last_bit_decides_are_left_out():
    # x - 1000 of 1000 is 0, and 1e-4 of the next number: nothing to hold an export to.
    flow = kf.Flow(kf.transforms.Affine(1000.0, 1.0), (3,))
    recorded = record.record(flow, graphs.of(flow, "onnx", None), None)
    extreme = record._extremes((3,)).astype("float32")
    kept = recorded["encode/extreme/x"]
    np.testing.assert_array_equal(kept, extreme[~(extreme == 1000.0).all(axis=1)])
    assert len(kept) == len(recorded["encode/extreme/z"]) == len(extreme) - 1


def test_a_flow_that_makes_nan_of_its_own_samples_is_not_recorded():
    flow = kf.Flow(kf.transforms.Affine(0.0, 1.0), (2,))
    exported = graphs.of(flow, "onnx", None)
    encode = exported["encode"].endpoint

    def broken(*inputs):
        made = encode.function.python_function(*inputs)
        return {**made, "z": made["z"] * np.nan}

    function = tf.function(broken, list(encode.inputs.values()), autograph=False)
    exported["encode"] = exported["encode"]._replace(endpoint=encode._replace(function=function))
    with pytest.raises(ExportError, match="NaN or infinity in encode: z"):
        record.record(flow, exported, None)
