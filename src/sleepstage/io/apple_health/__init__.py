"""Exports of Apple Health."""
