"""Masked autoregressive flow."""

from keras_flows.models.family import Family
from keras_flows.models.maf.model import MaskedAutoregressiveFlow as MaskedAutoregressiveFlow

FAMILY = Family(models=(MaskedAutoregressiveFlow,), configurations={}, recipes={})
