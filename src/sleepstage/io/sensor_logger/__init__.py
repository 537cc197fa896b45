"""Recordings of Sensor Logger."""
