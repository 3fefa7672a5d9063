"""The ground floor: the data contracts, and everything that learns. No kfp and no cloud client is
imported here."""
