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


def test_latents_on_the_edge_of_an_integer_are_left_out():
    steps = [kf.transforms.UniformDequantization(8), kf.transforms.Logit()]
    flow = kf.Flow(kf.transforms.Chain(steps), (2,))
    exported = graphs.of(flow, "onnx", None, names=["encode", "decode"])
    decode = exported["decode"].endpoint

    def jumps(*inputs):
        # All of the image hangs on whether the first latent is above zero, or above 1.
        up = tf.cast(inputs[0][:, :1] >= 0.0, tf.float32) + tf.cast(
            inputs[0][:, :1] >= 1.0, tf.float32
        )
        return {"x": tf.repeat(100.0 * up, 2, axis=1)}

    function = tf.function(jumps, list(decode.inputs.values()), autograph=False)
    exported["decode"] = exported["decode"]._replace(endpoint=decode._replace(function=function))
    recorded = record.record(flow, exported, None)
    first = recorded["decode/extreme/z"][:, 0]
    assert len(first) and (np.abs(first) > 1e-3).all() and (np.abs(first - 1.0) > 1e-3).all()
    assert (np.abs(record._extremes((2,))[:, 0]) <= 1e-3).any()
    # Samples are as many as ever, none of them on an edge.
    samples = recorded["decode/samples/z"][:, 0]
    assert len(samples) == len(recorded["encode/samples/x"]) and (np.abs(samples) > 4e-6).all()
    np.testing.assert_array_equal(recorded["decode/samples/x"], recorded["encode/samples/x"])
    assert recorded["decode/rounding/x"] == 0.0


def test_noise_is_rounded_with_the_integers_that_it_is_added_to():
    # (x + u) / 256 of x about 205 is a multiple of 2⁻²⁴, which is a part of 6e-6 of a deviation.
    steps = [kf.transforms.UniformDequantization(8), kf.transforms.Affine(0.8, 0.01)]
    flow = kf.Flow(kf.transforms.Chain(steps), (2,))
    recorded = record.record(flow, graphs.of(flow, "onnx", None, names=["encode"]), None)
    assert 2e-6 < recorded["encode/rounding/z"] < 2e-5
