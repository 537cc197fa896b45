"""Classifiers of stages, one small module each, behind one contract; chosen by name."""
