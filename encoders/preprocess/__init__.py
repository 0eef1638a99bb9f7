"""Before any encoder: noise filters for events, drawings found in pictures, images brought to a network's size."""
