"""Variants of a network to compare the engine with: dense PyTorch, SpikingJelly, OpenVINO, ONNX Runtime."""

import copy
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.models.networks.folding import fold
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import Neuron

Variants = dict[str, Callable[[], Any]]


@cache
def installed(package: str) -> bool:
    """Return whether a library is installed; if not, print once that its rows are left out."""
    there = find_spec(package) is not None
    if not there:
        print(f"(no rows of {package}: it is not installed; pip install {package})")
    return there


def folded(network: SpikingResNet) -> SpikingResNet:
    """Return the best dense variant of a network: batch norms folded, channels last."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(conv := module[0], nn.Conv2d):
            weight, bias, _ = fold(module)
            conv.weight, conv.bias, module[1] = nn.Parameter(weight), nn.Parameter(bias), nn.Identity()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def inference(network: Callable[[Tensor], Any], x_seq: Tensor, dtype: torch.dtype | None = None) -> Callable[[], Any]:
    """Return a function that runs the network on x_seq in inference mode, under autocast to `dtype` if given."""

    def run() -> Any:
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            return network(x_seq)

    return run


def spikingjelly_resnet(network: SpikingResNet) -> Callable[[Tensor], Tensor]:
    """Return the same network with SpikingJelly's multi-step LIF in place of our neurons."""
    from spikingjelly.activation_based import functional, neuron

    class Layer(nn.Module):
        def __init__(self, config: NeuronConfig) -> None:
            super().__init__()
            self.node = neuron.LIFNode(tau=1 / (1 - config.beta), detach_reset=True, step_mode="m")

        def forward(self, x_seq: Tensor, _: object) -> Tensor:
            return self.node(x_seq)

    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Neuron):
                setattr(module, name, Layer(child.config))

    def run(x_seq: Tensor) -> Tensor:
        functional.reset_net(network)
        return network(x_seq)[0]

    return run


class LogitsAlone(nn.Module):
    """A network that returns its logits without the state, for exporters."""

    def __init__(self, network: SpikingResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.network(x_seq)[0]


def exported(network: SpikingResNet, x_seq: Tensor, file: Path) -> Path:
    """Export the network as ONNX for inputs of the shape of x_seq; return the file."""
    alone = LogitsAlone(network).eval()
    torch.onnx.export(alone, (x_seq,), str(file), dynamo=True, input_names=["x_seq"], verbose=False)
    return file


def quantised(file: Path, x_seq: Tensor) -> Path:
    """Quantise convolutions and products of an ONNX file to int8, calibrated on one input; return the new file."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class One(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest: list[dict[str, Any]] = [{"x_seq": x_seq.numpy()}]

        def get_next(self) -> Any:
            return self.rest.pop() if self.rest else None

    made = file.with_suffix(".int8.onnx")
    quantize_static(file, made, One(), op_types_to_quantize=["Conv", "MatMul", "Gemm"])
    return made


def onnx_runtime(file: Path, x_seq: Tensor, threads: int = 1) -> Callable[..., Any]:
    """Return a function that runs the exported network in ONNX Runtime, on x_seq or another input of its shape."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda x=x_seq: session.run(None, {"x_seq": x.numpy()})


def openvino(network: SpikingResNet | Path, x_seq: Tensor, precision: str, threads: int = 1) -> Callable[..., Any]:
    """Return a function that runs the network, or its ONNX file, in OpenVINO, on x_seq or an input of its shape."""
    import openvino as ov

    with torch.no_grad():
        source = network if isinstance(network, Path) else torch.export.export(LogitsAlone(network), (x_seq,))
        model = ov.convert_model(source)
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda x=x_seq: request.infer([x.numpy()])


def spikingjelly_converted(ann: nn.Module, images: Tensor, x_seq: Tensor) -> Variants:
    """Return the ANN converted by SpikingJelly, in both of its step modes."""
    from spikingjelly.activation_based import ann2snn, functional
    from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe

    recipe = RateCodingRecipe(dataloader=[(images, torch.zeros(len(images)))], mode="99.9%")
    single = ann2snn.Converter(recipe=recipe).convert(copy.deepcopy(ann)).eval()
    multi = copy.deepcopy(single)
    functional.set_step_mode(multi, "m")
    merged = x_seq.contiguous()

    def loop() -> None:
        functional.reset_net(single)
        with torch.inference_mode():
            for x in x_seq:
                single(x)

    def whole() -> None:
        functional.reset_net(multi)
        with torch.inference_mode():
            multi(merged)

    return {"SpikingJelly step loop": loop, "SpikingJelly multi-step": whole}
