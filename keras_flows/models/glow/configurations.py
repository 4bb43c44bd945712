"""The published configurations of Glow: what is not here is the default of the class."""

from typing import Any

from keras_flows.flow import Flow
from keras_flows.models.glow.model import Glow

CONFIGURATIONS: dict[str, tuple[type[Flow], dict[str, Any]]] = {
    "glow_cifar10": (Glow, {"event_shape": (32, 32, 3)}),
    "glow_imagenet32": (Glow, {"event_shape": (32, 32, 3), "steps": 48}),
}
