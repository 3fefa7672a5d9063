"""The step that looks at the machine it runs on: `foldline doctor`."""
