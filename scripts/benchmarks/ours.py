"""The cases of keras-flows: the program of a worker, see serving.py."""

import inspect
import tempfile
from pathlib import Path

import numpy as np
import serving

# The models that normflows has too; theirs.py makes its own.
PAIRS = {
    "residual": ("ResidualFlow", {"event_shape": (2,), "log_det": "exact"}),
    "residual, unbiased": ("ResidualFlow", {"event_shape": (16,), "log_det": "geometric"}),
    "realnvp": ("RealNVP", {"event_shape": (16,), "layers": 8}),
    "spline": ("SplineFlow", {"event_shape": (16,), "autoregressive": False, "layers": 6}),
    "maf": ("MaskedAutoregressiveFlow", {"event_shape": (16,)}),
    "glow": ("Glow", {"event_shape": (16, 16, 3), "levels": 2, "steps": 4, "width": 64}),
}
TOLERANCES = (1e-4, 1e-2)
# normflows ends its inverse where the square of a step is below 1e-5 (1 + |y|).
LOOSE = 1e-5**0.5


def flow_of(described):
    """A flow: the name of an entry, or of a model with its arguments; None where there is none."""
    import keras_flows as kf

    if isinstance(described, str):
        return kf.zoo.load(described)
    model, arguments = described
    if arguments.get("log_det") == "geometric":
        arguments = {**arguments, "log_det": kf.numerics.log_det.Unbiased("geometric")}
    return getattr(kf.models, model)(**arguments) if hasattr(kf.models, model) else None


def examples(flow, number):
    """Random data of the kind that a flow is on."""
    rng, shape = np.random.default_rng(0), (number, *flow.event_shape)
    x = rng.integers(2**flow.bits, size=shape) if flow.bits else rng.standard_normal(shape)
    return x.astype(flow.compute_dtype)


def updates(flow, x):
    """From how often, to the seconds of so many updates on one batch, in a `fit`."""
    import keras
    import tensorflow as tf

    batch = tf.data.Dataset.from_tensors(tf.constant(x))

    def run(times):
        begun, seconds = [], []

        def begin(batch, logs=None):
            begun.append(serving.now())

        def end(batch, logs=None):
            seconds.append(serving.since(begun[-1]))

        notes = keras.callbacks.LambdaCallback(on_train_batch_begin=begin, on_train_batch_end=end)
        flow.fit(batch.repeat(times), callbacks=[notes], verbose=0)
        return seconds

    return run


def training(case, threads):
    """The update of a flow: what the first took from the call of `fit` on, and those after it."""
    import keras

    flow = flow_of(case["flow"])
    if flow is None:
        return None
    x = examples(flow, case["batch"])
    flow.compile(keras.optimizers.Adam(1e-4), jit_compile=case.get("jit_compile", "auto"))
    run = updates(flow, x)
    # The rest of a `fit` takes milliseconds.
    first = serving.timed(run, 1)[1]
    facts = {"first": first, "memory": serving.peak(), "parameters": parameters(flow)}
    return {"update": run}, facts


def parameters(flow):
    """The number of trained parameters."""
    return int(sum(np.prod(weight.shape) for weight in flow.trainable_weights))


def calls(case, threads):
    """What people ask of an entry, in Keras, of its SavedModel and of its ONNX files."""
    import onnxruntime
    import tensorflow as tf

    import keras_flows as kf

    flow, folder = kf.zoo.load(case["flow"]), Path(tempfile.mkdtemp())
    kf.export.to_onnx(flow, folder / "onnx")
    kf.export.to_saved_model(flow, folder / "saved_model")
    signatures = tf.saved_model.load(str(folder / "saved_model")).signatures
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    sessions = {
        name: onnxruntime.InferenceSession(
            str(folder / f"onnx/{name}.onnx"), options, providers=["CPUExecutionProvider"]
        )
        for name in ("log_prob", "encode", "decode")
    }
    functions = {}
    for batch in case["batches"]:
        seen = {"encode": examples(flow, batch), "decode": latents(flow, batch)}
        for name, session in sessions.items():
            direction = "decode" if name == "decode" else "encode"
            given = {"z" if name == "decode" else "x": seen[direction]}
            if flow.noise_shape(direction) != (0,):
                shape = (batch, *flow.noise_shape(direction))
                given["noise"] = np.random.default_rng(1).standard_normal(shape).astype("float32")
            made = {
                "Keras": keras_call(getattr(flow, name), seen[direction]),
                "SavedModel": saved_call(signatures[name], given),
                "onnxruntime": onnx_call(session, given),
            }
            functions |= {f"{name}, {batch}, {kind}": call for kind, call in made.items()}
        functions[f"sample, {batch}, Keras"] = keras_call(flow.sample, batch)
        drawn = {"count": np.int32(batch), "seed": np.array([0, 1], "int32")}
        functions[f"sample, {batch}, SavedModel"] = saved_call(signatures["sample"], drawn)
    functions = {name: serving.repeated(function) for name, function in functions.items()}
    return functions, {"likelihood": flow.likelihood}


def keras_call(method, given):
    # With a seed, or every call would draw one.
    return lambda: method(given, seed=0).numpy()


def saved_call(signature, given):
    import tensorflow as tf

    (output, *_) = signature.structured_outputs

    def call():
        return signature(**{name: tf.constant(v) for name, v in given.items()})[output].numpy()

    return call


def onnx_call(session, given):
    return lambda: session.run(None, given)


def latents(flow, number):
    """Standard normal latents."""
    shape = (number, *flow.latent_shape)
    return np.random.default_rng(0).standard_normal(shape).astype(flow.compute_dtype)


def zoo(case, threads):
    """Loading and exporting an entry, in a process that has imported all it needs."""
    import onnxruntime  # noqa: F401
    import tf2onnx  # noqa: F401

    import keras_flows as kf

    kf.zoo.load(case["warm"])
    flow = kf.zoo.load(case["flow"])
    functions = {"load": serving.repeated(lambda: kf.zoo.load(case["flow"]))}

    def export(times):
        seconds = []
        for _ in range(times):
            folder = Path(tempfile.mkdtemp())
            seconds.append(serving.timed(kf.export.to_onnx, flow, folder / "onnx")[1])
        return seconds

    return {**functions, "export": export}, {"parameters": parameters(flow)}


def sampling(case, threads):
    """Decoding at tolerances, and what is left of the error."""
    import keras_flows as kf
    from keras_flows.measure import round_trip

    flow = kf.zoo.load(case["flow"])
    z = latents(flow, case["batch"])
    chooses = "tolerance" in inspect.signature(flow.decode).parameters
    functions = {"own": serving.repeated(lambda: np.asarray(flow.decode(z)))}
    facts = {"own": own_tolerance(flow)}
    if not chooses:
        return functions, facts
    x = flow.sample(min(case["batch"], 1000), seed=0)
    for tolerance in (None, *TOLERANCES):
        name = "own" if tolerance is None else f"{tolerance:g}"
        if tolerance is not None:
            functions[name] = serving.repeated(
                lambda tolerance=tolerance: np.asarray(flow.decode(z, tolerance=tolerance))
            )
        trip = round_trip(flow, x, tolerance=tolerance)
        steps = np.stack(list(trip.iterations.values()))
        facts[f"error {name}"] = {
            "residual": float(np.max(list(trip.residuals.values()))),
            "worst": float(trip.worst),
            "steps": [float(steps.mean()), int(steps.max())],
        }
    return functions, facts


def own_tolerance(flow):
    return max(block.tolerance for block in flow.blocks)


def compared(case, threads):
    """A model that normflows has too: its update, its log_prob, its samples."""
    import keras
    import tensorflow as tf

    flow = flow_of(PAIRS[case["pair"]])
    if flow is None:
        return None
    x = examples(flow, case["batch"])
    flow.compile(keras.optimizers.Adam(1e-4), jit_compile=case.get("jit_compile", "auto"))
    run = updates(flow, x)
    first = serving.timed(run, 1)[1]
    data = tf.constant(x)
    functions = {
        "update": run,
        "log_prob": serving.repeated(lambda: flow.log_prob(data, seed=0).numpy()),
        "sample": serving.repeated(lambda: flow.sample(case["batch"], seed=0).numpy()),
    }
    if flow.blocks:  # at the tolerance of the other library too
        loose = serving.repeated(lambda: flow.sample(case["batch"], 0, tolerance=LOOSE).numpy())
        functions["sample, loose"] = loose
    return functions, {"first": first, "memory": serving.peak(), "parameters": parameters(flow)}


def prepare(case, threads):
    """What a case offers; see `serving.serve`."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    kinds = {f.__name__: f for f in (training, calls, zoo, sampling, compared)}
    return kinds[case["kind"]](case, threads)


if __name__ == "__main__":
    serving.serve(prepare)
