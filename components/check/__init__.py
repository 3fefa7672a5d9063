"""The first step: check the parameters and the files that they name, and digest the files."""
