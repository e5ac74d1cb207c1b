"""Counterfactual pairs."""
