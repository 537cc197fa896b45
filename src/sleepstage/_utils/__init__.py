"""Files, pages and parallel runs: what every room needs and no user calls."""
