"""Readers of what other apps, services and devices export, one module each."""
