"""Networks with Lipschitz bounds and hand-written derivatives, of residual blocks."""
