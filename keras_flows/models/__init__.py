"""Models: configuration in, chain of transforms out."""

from keras_flows.models.configurations import CONFIGURATIONS as CONFIGURATIONS
from keras_flows.models.configurations import from_name as from_name
from keras_flows.models.dense_flow import DenseFlow as DenseFlow
from keras_flows.models.residual_flows import IDenseNet as IDenseNet
from keras_flows.models.residual_flows import ResidualFlow as ResidualFlow
