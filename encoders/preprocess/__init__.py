"""Before any encoder: noise filters for events, large sensors summed to small ones, drawings found in pictures, images
brought to a network's size."""
