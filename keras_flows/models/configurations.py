"""The published configurations by name, without weights."""

import difflib

from keras_flows.models.dense_flow import DenseFlow
from keras_flows.models.residual_flows import IDenseNet, ResidualFlow

# Published alike on all images: what is not here is the default of the class.
_SMALL = {"blocks": (4, 4, 4)}
# MNIST images are padded or resized to 32 × 32.
_MNIST = {"event_shape": (32, 32, 1), "coeff": 0.93, "alpha": 1e-6, **_SMALL}
_CIFAR10 = {"event_shape": (32, 32, 3)}

_FACES_AND_IMAGENET64 = {"event_shape": (64, 64, 3)}

CONFIGURATIONS = {
    "denseflow_celeba": (DenseFlow, _FACES_AND_IMAGENET64),
    "denseflow_cifar10": (DenseFlow, _CIFAR10),
    "denseflow_imagenet32": (DenseFlow, _CIFAR10),
    "denseflow_imagenet64": (DenseFlow, _FACES_AND_IMAGENET64),
    "idensenet_cifar10": (IDenseNet, _CIFAR10),
    "idensenet_cifar10_small": (IDenseNet, {**_CIFAR10, **_SMALL, "growth": 178}),
    "idensenet_cifar10_small_lipswish": (
        IDenseNet,
        {**_CIFAR10, **_SMALL, "growth": 124, "activation": "lipswish"},
    ),
    "idensenet_imagenet32": (IDenseNet, {**_CIFAR10, "blocks": (32, 32, 32)}),
    "idensenet_mnist": (IDenseNet, {**_MNIST, "growth": 108, "activation": "lipswish"}),
    "residual_flow_cifar10": (ResidualFlow, _CIFAR10),
    "residual_flow_cifar10_small": (ResidualFlow, {**_CIFAR10, **_SMALL}),
    "residual_flow_mnist": (ResidualFlow, _MNIST),
}


def from_name(name, **arguments):
    """A flow of a published configuration, with fresh weights.

    >>> flow = kf.models.from_name("idensenet_cifar10_small", seed=3)

    Args:
        name: A key of `CONFIGURATIONS`: `denseflow_cifar10`, `denseflow_imagenet32`,
            `denseflow_celeba`, `denseflow_imagenet64`, `idensenet_cifar10`,
            `idensenet_cifar10_small`, `idensenet_cifar10_small_lipswish`,
            `idensenet_imagenet32`, `idensenet_mnist`,
            `residual_flow_cifar10`, `residual_flow_cifar10_small`, `residual_flow_mnist`, …
        **arguments: Arguments of its class to change.

    Raises:
        ValueError: If the name is not known.
    """
    if name not in CONFIGURATIONS:
        close = difflib.get_close_matches(str(name), CONFIGURATIONS, n=1)
        raise ValueError(
            f"Unknown configuration {name!r}."
            + (f" Did you mean {close[0]!r}?" if close else "")
            + f" Known: {', '.join(CONFIGURATIONS)}."
        )
    model, published = CONFIGURATIONS[name]
    return model(**{**published, **arguments})
