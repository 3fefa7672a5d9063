"""Read each kind of source."""
