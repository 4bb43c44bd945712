"""Pictures of flows. They need matplotlib: `pip install keras-flows[plot]`."""

from keras_flows.image_grid import image_grid as image_grid
from keras_flows.plot.images import interpolations as interpolations
from keras_flows.plot.images import reconstructions as reconstructions
from keras_flows.plot.images import samples as samples
from keras_flows.plot.noise import added_noise as added_noise
from keras_flows.plot.plane import comparison as comparison
from keras_flows.plot.plane import comparison_of_samples as comparison_of_samples
from keras_flows.plot.plane import concatenation as concatenation
from keras_flows.plot.plane import concatenation_circle as concatenation_circle
from keras_flows.plot.plane import density as density
from keras_flows.plot.plane import grid as grid
