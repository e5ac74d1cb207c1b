"""Evaluation other than attacks: contrast sets, comparisons of two models, and representations."""
