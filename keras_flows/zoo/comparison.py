"""Whether the metadata of a preset are those of its flow, and the flow is of one piece."""

from keras_flows.errors import PresetError
from keras_flows.layers.upkeep import Upkeep

# Relative difference of a certificate, or of a stored norm, from the one that is stated: rounding
# on another machine is far below.
_SAME = 1e-3


def check_metadata(flow, metadata):
    """Compares what a flow is with its metadata.

    Args:
        flow: A `keras_flows.Flow`.
        metadata: The `keras_flows.zoo.metadata.Metadata` of its preset.

    Raises:
        PresetError: If something differs.
    """
    context_shape = None if flow.context_shape is None else list(flow.context_shape)
    found = {
        "model": type(flow).__name__,
        "event_shape": list(flow.event_shape),
        "context_shape": context_shape,
        "likelihood": flow.likelihood,
    }
    wrong = [
        f"{name} is {getattr(metadata, name)!r}, and that of the flow {value!r}"
        for name, value in found.items()
        if getattr(metadata, name) != value
    ]
    if wrong:
        raise PresetError(
            f"The metadata of {metadata.name!r} are those of another flow: {'; '.join(wrong)}."
        )


def check_norms(flow, metadata):
    """Checks that the state that follows the weights, spectral norms above all, is theirs.

    Raises:
        PresetError: If it is not.
    """
    for layer in flow._flatten_layers(include_self=False):
        # Written so that NaN fails too.
        if isinstance(layer, Upkeep) and not (distance := layer.staleness()) <= _SAME:
            raise PresetError(
                f"The weights of {metadata.name!r} were changed: the spectral norm stored in "
                f"{layer.path!r} is off by a factor of {1.0 + distance:.4g}, so nothing says that "
                "the flow is invertible."
            )


def check_certificate(certificate, metadata):
    """Compares a certificate with the one in the metadata of a preset.

    Raises:
        PresetError: If a bound differs, or blocks are missing or unknown.
    """
    stated, found = metadata.lipschitz, certificate.bounds
    if stated.keys() != found.keys():
        raise PresetError(
            f"The certificate of {metadata.name!r} has {len(stated)} bounds, of other residual "
            f"blocks than the {len(found)} of the flow."
        )
    for path, bound in found.items():
        if not abs(bound - stated[path]) <= _SAME * bound:
            raise PresetError(
                f"The certificate of {metadata.name!r} is of other weights: it states the "
                f"bound {stated[path]:.6f} for {path!r}, and the weights have {bound:.6f}."
            )
