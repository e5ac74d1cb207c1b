"""Certificates: on which rows no synonym substitution flips a smoothed classifier."""
