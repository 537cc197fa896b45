"""The dataset sleep-accel: downloaded, summarised, checked and read."""
