"""From samples to stages: features, the model, and the live session."""
