"""Rules that the product has in C, written plainly: what tests hold every implementation against."""
