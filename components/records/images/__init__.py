"""Decode, resize, encode and describe one image."""
