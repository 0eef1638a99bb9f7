"""Networks for other runtimes: ONNX, torch.export and NIR, each held against the original before it is written.

`formats`, `parity`, and NIR: `nir_writer`, `nir_graph`, `nir_network`, `nir_state`.
"""
