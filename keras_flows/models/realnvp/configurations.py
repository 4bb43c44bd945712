"""The published configurations of Real NVP: what is not here is the default of the class."""

from keras_flows.models.realnvp.images import ImageRealNVP

CONFIGURATIONS = {"realnvp_cifar10": (ImageRealNVP, {"event_shape": (32, 32, 3)})}
