"""Estimators, solvers and small linear algebra: functions of tensors that know no flows."""
