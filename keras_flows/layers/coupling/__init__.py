"""Networks that give a coupling its parameters."""
