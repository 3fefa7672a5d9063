"""Convert labelled images, in any layout that a competition ships, to TFRecord shards and the
examples table.
"""
