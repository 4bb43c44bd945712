"""Augmented normalizing flows."""

from keras_flows.models.anf.model import AugmentedNormalizingFlow as AugmentedNormalizingFlow
from keras_flows.models.family import Family

FAMILY = Family(models=(AugmentedNormalizingFlow,), configurations={}, recipes={})
