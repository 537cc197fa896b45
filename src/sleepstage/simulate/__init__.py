"""Simulated nights, where there are no real ones."""
