"""Files, servers and results that several tests need."""
