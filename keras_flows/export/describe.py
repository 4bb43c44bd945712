"""What the manifest of a new export says."""

import json
import platform
from importlib import metadata as installed

from keras_flows import __version__
from keras_flows.export import endpoints
from keras_flows.export.manifest import FORMAT, Graph, Inverse, Manifest, Tensor
from keras_flows.zoo import parts

_CUT = (
    "The flow draws how many terms of the power series its log-det sums, which makes it unbiased; "
    "this export sums the fewest it ever does, always, which makes it biased."
)
_FIXED = (
    "The noise of log_prob_fixed is a constant, the same for every example: it gives one draw of "
    "the random log_prob, whose errors in different examples are not independent."
)
_UNITS = {"log_prob": "nats", "log_det": "nats"}


def describe(flow, exported, form, round_trip, noise_seed, alpha=None):
    """The manifest of a new export, without its files, costs and the comparison.

    Args:
        flow: The `keras_flows.Flow`.
        exported: Its graphs; see `graphs.of`.
        form: The `write.Format`.
        round_trip: See `record.own_round_trip`.
        noise_seed: The seed of the noise that graphs hold, None if none does.
        alpha: The false-positive rate of the flags, None without a graph that has them.
    """
    blocks, inverse = flow.blocks, None
    if blocks:
        inverse = Inverse(
            tolerance=max(block.tolerance for block in blocks),
            max_iterations=max(block.max_iterations for block in blocks),
        )
    notes = [_CUT] * endpoints.cuts_series(flow) + [_FIXED] * (noise_seed is not None)
    return Manifest(
        format=FORMAT,
        kind=form.kind,
        source=flow.name,
        model=type(flow).__name__,
        likelihood=endpoints.likelihood(flow),
        note=" ".join(notes) or None,
        noise_seed=noise_seed,
        columns=None if flow.schema is None else json.loads(flow.schema.to_json())["columns"],
        calibration=None if alpha is None else parts.calibrated(flow.calibration),
        alpha=alpha,
        integers=flow.transform.dequantizes,
        levels=None if flow.bits is None else 2**flow.bits,
        graphs={
            name: Graph(
                name=name + form.suffix,
                inputs=[_tensor(spec) for spec in endpoint.inputs.values()],
                outputs=[_tensor(endpoint.outputs[output]) for output in graph.outputs],
            )
            for name, (graph, endpoint) in exported.items()
        },
        opset=form.opset,
        inverse=inverse,
        round_trip=round_trip,
        parity=[],
        versions={
            "python": platform.python_version(),
            "keras_flows": __version__,
            **{name: installed.version(name) for name in ("tensorflow", "keras", *form.packages)},
        },
        files={},
    )


def _tensor(spec):
    shape = ["batch" if size is None else size for size in spec.shape]
    return Tensor(name=spec.name, shape=shape, dtype=spec.dtype.name, units=_UNITS.get(spec.name))
