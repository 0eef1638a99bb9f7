"""What a step learns from: `batches` of samples, their augmentation (`augment`), `losses`."""
