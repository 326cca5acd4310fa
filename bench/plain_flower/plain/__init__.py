"""A Flower app as the quickstart for TensorFlow writes it, for comparison only."""
