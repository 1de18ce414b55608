"""An ONNX file in eight-bit integers: ONNX Runtime's static quantisation, written as QDQ pairs."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.runtimes.base import Array, random_arrays
from bench.runtimes.onnx_export import input_names
from bench.runtimes.onnx_refusals import refusals_told
from latency_tables.errors import LatheError
from latency_tables.files import write_atomically
from latency_tables.graph import Graph

#: Fewest images from which ranges are taken: an activation that few of them excite is cut off for all others.
MIN_CALIBRATION = 32
#: Most of them that are looked at; ranges hardly move any more, and every image costs a forward pass.
MAX_CALIBRATION = 128
#: Instructions that add products of eight-bit integers without overflow; elsewhere weights get seven bits.
_WITHOUT_OVERFLOW = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})


def overflows(features: Sequence[str]) -> bool:
    """Whether a CPU with these instruction sets may overflow when it adds products of eight-bit integers."""
    return _WITHOUT_OVERFLOW.isdisjoint(features)


def quantise(
    content: bytes,
    feeds: Sequence[dict[str, Array]],
    *,
    reduce_range: bool = False,
    symmetric: bool = False,
    path: Path | None = None,
) -> bytes:
    """Quantises activations and weights, these with one scale for each channel, ranges as seen on images.

    What is quantised stands between a QuantizeLinear and a DequantizeLinear operator, which runtimes fuse with it.

    Args:
        content: an ONNX file in fp32.
        feeds: inputs by name for one forward pass each.
        reduce_range: weights of seven bits, for CPUs that overflow.
        symmetric: activations as int8 around zero, weights and biases kept as floats before their pairs, as
            TensorRT wants it; otherwise activations as uint8 and weights as int8, as ONNX Runtime's CPU kernels do.
        path: where the file is written as well, atomically; None: nowhere.

    Returns:
        The content of the quantised file. What has no form in integers stays in fp32 between the pairs.

    Raises:
        UnsupportedOperatorError: it has no kernel for an operator, as it must run to see ranges.
        LatheError: ONNX Runtime cannot quantise it for another reason.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc] # has no types
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._feeds, None)

    integers = quantization.QuantType
    wanted = {"ActivationSymmetric": True, "AddQDQPairToWeight": True, "QuantizeBias": False}
    with tempfile.TemporaryDirectory() as folder, _silent(), refusals_told():
        made = Path(folder) / "int8.onnx"
        try:
            quantization.quantize_static(
                _with_own_initialisers(onnx.load_from_string(content)),
                made,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=integers.QInt8 if symmetric else integers.QUInt8,
                weight_type=integers.QInt8,
                extra_options=wanted if symmetric else {},
            )
        # The quantiser is Python that meets operators it was not written for, and fails as such code does.
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LatheError(
                f"ONNX Runtime cannot quantise the network: {type(error).__name__}: {error}"
            ) from error
        quantised = made.read_bytes()
    if path is not None:
        write_atomically(path, quantised)
    return quantised


def _with_own_initialisers(model: Any) -> Any:
    """A model in which no two operators share a constant.

    The exporter keeps equal constants, as the biases of a network with random weights, once and hands them on by
    Identity operators. Behind these a bias is not quantised, and then its convolution runs in floats; shared, it
    could not be, since its scale is that of its operator's input and weights.
    """
    import onnx

    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    results = {output.name for output in graph.output}
    handed_on = [
        node
        for node in graph.node
        if node.op_type == "Identity" and node.input[0] in constants and node.output[0] not in results
    ]
    copies = {node.output[0]: node.input[0] for node in handed_on}
    for node in handed_on:
        graph.node.remove(node)
    taken: set[str] = set()
    for node in graph.node:
        for place, name in enumerate(node.input):
            source = copies.get(name, name)
            if source not in constants:
                continue
            own = source if source not in taken else f"{node.name or node.output[0]}/{place}/{source}"
            if own not in constants:
                copy = onnx.TensorProto()
                copy.CopyFrom(constants[source])
                copy.name = own
                graph.initializer.append(copy)
                constants[own] = copy
            taken.add(own)
            node.input[place] = own
    return model


def calibration_feeds(graph: Graph, images: Sequence[Array] | None) -> list[dict[str, Array]]:
    """Images cut into inputs of a network.

    Args:
        graph: the network.
        images: for each input an array of images, the same number for all; None: one random batch, whose ranges
            will do for timing.

    Returns:
        Inputs by name for each forward pass, of `MAX_CALIBRATION` images at most; images left over are not used,
        but a network that takes more than there are gets some of them twice.

    Raises:
        LatheError: fewer than `MIN_CALIBRATION` images.
    """
    names = input_names(len(graph.inputs))
    if images is None:
        return [dict(zip(names, random_arrays(graph.inputs), strict=True))]
    count = len(images[0])
    if count < MIN_CALIBRATION:
        raise LatheError(
            f"int8 needs at least {MIN_CALIBRATION} calibration images to see the ranges of activations, got "
            f"{count}. Give more with --calibration."
        )
    batches = [type_.shape[0] for type_ in graph.inputs]
    return [
        {
            name: np.take(array, range(i * batch, (i + 1) * batch), axis=0, mode="wrap")
            for name, array, batch in zip(names, images, batches, strict=True)
        }
        for i in range(max(1, min(count, MAX_CALIBRATION) // max(batches)))
    ]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the advice to preprocess, which the exporter and shape inference have done already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
