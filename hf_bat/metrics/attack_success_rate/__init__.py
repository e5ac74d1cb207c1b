"""An `evaluate` metric: load it with `hf_bat.metrics.load`."""
