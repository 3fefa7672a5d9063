"""The files that steps pass to each other: tables, records, manifests."""
