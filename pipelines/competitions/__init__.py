"""One TOML a competition."""
