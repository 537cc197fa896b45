"""What a night is made of: samples, recordings, hypnograms, and what is counted in them."""
