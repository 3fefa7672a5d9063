"""Labelled images in any shape a competition ships them -> TFRecord shards and the examples
table."""
