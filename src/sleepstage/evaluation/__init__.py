"""Many runs over many splits, and what they say together."""
