"""What a finished run leaves."""
