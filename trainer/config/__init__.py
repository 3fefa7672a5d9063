"""The competition file: its sections as dataclasses, read and checked."""
