"""Elementwise maps of couplings and autoregressive steps, one file each."""

from keras_flows.transforms.maps.affine import AffineMap as AffineMap
from keras_flows.transforms.maps.base import ElementwiseMap as ElementwiseMap
from keras_flows.transforms.maps.features import FeatureMaps as FeatureMaps
from keras_flows.transforms.maps.spline import BoundedSplineMap as BoundedSplineMap
from keras_flows.transforms.maps.spline import PeriodicSplineMap as PeriodicSplineMap
from keras_flows.transforms.maps.spline import SplineMap as SplineMap
