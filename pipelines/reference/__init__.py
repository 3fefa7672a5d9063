"""The reference of the competition file, made from its sections: documentation, schemas for
editors, `foldline explain`."""
