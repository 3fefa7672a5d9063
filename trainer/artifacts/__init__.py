"""What steps hand to each other: tables, records, manifests."""
