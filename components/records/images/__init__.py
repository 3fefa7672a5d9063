"""One image: decoded, resized, stored, described."""
