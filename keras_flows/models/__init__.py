"""Models: configuration in, chain of transforms out."""

from keras_flows.models.denseflow import DenseFlow as DenseFlow
from keras_flows.models.registry import CONFIGURATIONS as CONFIGURATIONS
from keras_flows.models.registry import from_name as from_name
from keras_flows.models.residual import IDenseNet as IDenseNet
from keras_flows.models.residual import ResidualFlow as ResidualFlow
