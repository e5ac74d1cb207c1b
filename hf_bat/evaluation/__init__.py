"""Evaluation beside attacks: contrast sets, comparisons of two models, representations."""
