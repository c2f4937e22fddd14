"""Measurements, each named by the claim it checks; printed as ratios of one run, or as figures."""
