"""Models: configuration in, chain of transforms out."""

from keras_flows.models.residual_flows import IDenseNet as IDenseNet
from keras_flows.models.residual_flows import ResidualFlow as ResidualFlow
