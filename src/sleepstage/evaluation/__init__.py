"""Many runs over many splits, and their summary."""
