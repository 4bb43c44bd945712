"""Estimators, solvers and small linear algebra: functions of tensors that know no flows."""

from keras_flows.numerics.log_det import Exact as Exact
from keras_flows.numerics.log_det import PowerSeries as PowerSeries
from keras_flows.numerics.log_det import Unbiased as Unbiased
