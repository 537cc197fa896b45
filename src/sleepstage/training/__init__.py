"""From recordings to a model file; the only part of the package that knows torch."""
