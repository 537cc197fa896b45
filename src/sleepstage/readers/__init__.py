"""One module a format; each yields recordings."""
