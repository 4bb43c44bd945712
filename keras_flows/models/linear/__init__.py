"""The linear flow: a Gaussian density of vectors."""

from keras_flows.models.family import Family
from keras_flows.models.linear.model import LinearFlow

FAMILY = Family(models=(LinearFlow,), configurations={}, recipes={})
