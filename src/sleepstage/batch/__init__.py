"""Many nights at once: found, staged, written, and shown on one page."""
