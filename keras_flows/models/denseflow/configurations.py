"""The published configurations of DenseFlow: what is not here is the default of the class."""

from keras_flows.models.denseflow.model import DenseFlow

_SIDE_32, _SIDE_64 = {"event_shape": (32, 32, 3)}, {"event_shape": (64, 64, 3)}

CONFIGURATIONS = {
    "denseflow_celeba": (DenseFlow, _SIDE_64),
    "denseflow_cifar10": (DenseFlow, _SIDE_32),
    "denseflow_imagenet32": (DenseFlow, _SIDE_32),
    "denseflow_imagenet64": (DenseFlow, _SIDE_64),
}
