"""Data to train and judge flows on."""

from keras_flows.data.toy import ToyDensity, names, toy

__all__ = ["ToyDensity", "names", "toy"]
