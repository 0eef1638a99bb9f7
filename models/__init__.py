"""From `x_seq` [T, N, C, H, W] to logits [T, N, K]: spiking networks, conversion, the engine, checkpoints."""
