"""Interlaced flows."""

from keras_flows.models.family import Family
from keras_flows.models.interlaced.model import InterlacedFlow as InterlacedFlow
from keras_flows.models.interlaced.recipes import RECIPES

FAMILY = Family(models=(InterlacedFlow,), configurations={}, recipes=RECIPES)
