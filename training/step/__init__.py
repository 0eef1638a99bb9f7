"""One optimiser step: `batches` of samples, `augment`, `forward` through the network, `losses`."""
