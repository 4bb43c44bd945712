"""The TensorFlow Probability view of a flow: a distribution, and a bijector.

Both are made by the flow, `flow.as_distribution()` and `flow.as_bijector()`. They hold no numbers
of their own: they see every change of the flow's weights at once.
"""

from keras_flows.tfp.bijector import FlowBijector as FlowBijector
from keras_flows.tfp.distribution import FlowDistribution as FlowDistribution
