"""Where sessions are kept: SQLite in a folder, or Redis by address."""
