"""What peers need to stage nights, each in its own environment."""
