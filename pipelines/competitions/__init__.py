"""One TOML file per competition, and scripts that write the data of some of them."""
