"""From records to batches of images and labels."""
