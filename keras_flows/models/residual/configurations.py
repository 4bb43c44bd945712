"""The published configurations of i-DenseNet and Residual Flow."""

from typing import Any

from keras_flows.models.residual.model import IDenseNet, ResidualFlow
from keras_flows.numerics.log_det import PowerSeries

# Published alike on all images: what is not here is the default of the class.
_SMALL: dict[str, Any] = {"blocks": (4, 4, 4)}
# At 32 × 32, like the other images. The published command of Residual Flow trains on MNIST at 28;
# that of i-DenseNet is not published. Give `event_shape=(28, 28, 1)` for the former.
_MNIST: dict[str, Any] = {"event_shape": (32, 32, 1), "coeff": 0.93, "alpha": 1e-6, **_SMALL}
_CIFAR10: dict[str, Any] = {"event_shape": (32, 32, 3)}

# Behrmann et al. 2019, *Invertible Residual Networks*: with a biased log-det, and without blocks
# of matrices. The logit and the base are those of Residual Flow.
_IRESNET: dict[str, Any] = {
    **_CIFAR10,
    "activation": "elu",
    "coeff": 0.9,
    "power_iterations": 5,
    "log_det": PowerSeries(5),
    "fully_connected": None,
    "factor_out": True,
}

CONFIGURATIONS = {
    "idensenet_cifar10": (IDenseNet, _CIFAR10),
    "idensenet_cifar10_small": (IDenseNet, {**_CIFAR10, **_SMALL, "growth": 178}),
    "idensenet_cifar10_small_lipswish": (
        IDenseNet,
        {**_CIFAR10, **_SMALL, "growth": 124, "activation": "lipswish"},
    ),
    "idensenet_imagenet32": (IDenseNet, {**_CIFAR10, "blocks": (32, 32, 32)}),
    "idensenet_mnist": (IDenseNet, {**_MNIST, "growth": 108, "activation": "lipswish"}),
    "iresnet_cifar10": (ResidualFlow, _IRESNET),
    "residual_flow_cifar10": (ResidualFlow, _CIFAR10),
    "residual_flow_cifar10_small": (ResidualFlow, {**_CIFAR10, **_SMALL}),
    "residual_flow_mnist": (ResidualFlow, _MNIST),
}
