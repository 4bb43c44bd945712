"""Data to train and judge flows on."""

from keras_flows.data.images import Images, images
from keras_flows.data.toy import ToyDensity, names, toy

__all__ = ["Images", "ToyDensity", "images", "names", "toy"]
