"""Certify smoothed classifiers against synonym substitutions."""
