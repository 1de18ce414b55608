"""How many layers does lathe see in a network, beside the nodes that ONNX Runtime is left with after its own fusion?

    python experiments/layer_counts.py

For networks of timm of many families, at their own image size and batch 1, with random weights. Counted are all nodes of
the graph that ONNX Runtime's CPU provider executes with all its optimisations, the level at which lathe times; also
without the nodes that only change the layout (ReorderInput, ReorderOutput). Also checks that every operator stands in
one layer, that layers read only what earlier ones made, and that the graph computes what the network computes. Writes
docs/results/layer_counts.md in about 10 minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from cells import RESULTS, origin

from bench.runtimes.onnx_export import export_onnx
from bench.runtimes.torch_graph import build_module
from bench.workloads import resolve
from latency_tables.files import write_atomically
from latency_tables.skeleton import Skeleton
from pruning.outline import outline

#: One of each family, the smallest or the best known.
NETWORKS = (
    "resnet18", "resnet50", "seresnet18", "resnext50_32x4d", "regnety_002", "mobilenetv2_100",
    "mobilenetv3_small_100", "efficientnet_b0", "ghostnet_050", "densenet121", "vgg11_bn", "inception_v3", "repvgg_a0",
    "mobileone_s0", "dla46_c", "hrnet_w18_small", "convnext_atto", "vit_tiny_patch16_224", "eva02_tiny_patch14_224",
    "swin_tiny_patch4_window7_224", "davit_tiny", "mixer_s32_224", "resmlp_12_224", "poolformer_s12", "mobilevit_xxs",
    "efficientvit_b0", "levit_128s", "fastvit_t8",
)  # fmt: skip
#: The largest number of layers for each node.
LIMIT = 1.2


@dataclass(frozen=True)
class Count:
    """What was counted of a network.

    Attributes:
        skeleton: the network taken apart.
        nodes: how many nodes of each kind ONNX Runtime executes.
        difference: largest difference between the graph's outputs and the network's, as a share of the largest output.
    """

    skeleton: Skeleton
    nodes: Counter[str]
    difference: float

    @property
    def reorders(self) -> int:
        """Nodes that only change the layout."""
        return self.nodes["ReorderInput"] + self.nodes["ReorderOutput"]

    @property
    def ratio(self) -> float:
        """Layers for each node."""
        return len(self.skeleton.layers) / self.nodes.total()

    @property
    def strict_ratio(self) -> float:
        """Layers for each node that does more than change the layout."""
        return len(self.skeleton.layers) / (self.nodes.total() - self.reorders)


def executed_nodes(content: bytes) -> Counter[str]:
    """How many nodes of each kind ONNX Runtime's CPU provider executes, after all its optimisations.

    Args:
        content: of an ONNX file.
    """
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(path)
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # it warns that the file is for this machine alone
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(path).graph.node)


def count(name: str, input_shape: tuple[int, int, int] | None = None) -> Count:
    """Takes a network apart, runs it in both forms and counts.

    Args:
        name: as `lathe` names it.
        input_shape: channels, height, width; None for the network's own.
    """
    network = resolve(name, input_shape=input_shape)
    model = network.build()
    _fill_zeros(model)
    taken = outline(name, model, network.input_shape, 1)
    module = build_module(taken.skeleton.graph, taken.weights)
    image = torch.randn(1, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, (received,) = model(image), module(image)
    difference = float((received - expected).abs().max() / expected.abs().max())
    return Count(taken.skeleton, executed_nodes(export_onnx(module, (image,))), difference)


def _fill_zeros(model: torch.nn.Module) -> None:
    """Small random numbers for weights that begin as zeros, so that no block and no head gives nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.02)


def faults(counted: Count) -> list[str]:
    """What is wrong with how a network was taken apart; nothing, if all is as promised."""
    skeleton = counted.skeleton
    found = []
    if sorted(p for layer in skeleton.layers for p in layer.operators) != list(
        range(len(skeleton.graph.operators))
    ):
        found.append("an operator stands in no layer or in two")
    made = set(range(skeleton.graph.first_result))
    for layer in skeleton.layers:
        own = {skeleton.graph.first_result + position for position in layer.operators}
        read = {
            value for position in layer.operators for value in skeleton.graph.operators[position].values()
        }
        if not read <= made | own:
            found.append(f"layer {layer.name} reads what no earlier layer made")
        made |= own
    if not counted.difference <= 1e-4:  # also where it is no number
        found.append(f"the graph's outputs differ by {counted.difference:.1e}")
    if max(counted.ratio, counted.strict_ratio) > LIMIT:
        found.append(f"{counted.strict_ratio:.2f} layers for each node")
    return found


def main() -> None:
    """Counts and writes the page."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    torch.set_num_threads(1)
    rows, wrong = [], []
    for name in NETWORKS:
        counted = count(f"timm/{name}")
        skeleton = counted.skeleton
        moves = sum(layer.part.kind.startswith("moves: ") for layer in skeleton.layers)
        wrong += [f"{name}: {fault}" for fault in faults(counted)]
        rows.append(
            f"| {name} | {len(skeleton.graph.operators)} | {len(skeleton.layers)} | {moves} | {counted.nodes.total()} | "
            f"{counted.reorders} | {counted.ratio:.2f} | {counted.strict_ratio:.2f} | {len(skeleton.blocks)} | "
            f"{len(skeleton.removable)} | {counted.difference:.0e} |"
        )
        print(rows[-1], flush=True)
    lines = [
        "# Layers, and the nodes that ONNX Runtime executes",
        "",
        origin("layer_counts", "full").replace(" --scale full", "") + f" timm {version('timm')}.",
        "",
        "Batch 1, CPU provider, all optimisations, each network at its own image size. Reorders are nodes that only "
        "change the layout of activations between its convolutions; the strict ratio leaves them out. A layer of moves "
        "only holds nothing but views, slices and the like; it is timed like the others. The difference is the largest "
        "between the outputs of the graph and of the network, as a share of the largest output.",
        "",
        f"Target: at most {LIMIT} layers for each node. "
        + ("Met by all, also by the strict ratio." if not wrong else f"Faults: {'; '.join(wrong)}."),
        "",
        "| network | operators | layers | of moves only | nodes | of these reorders | ratio | strict ratio | blocks | "
        "removable | difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    write_atomically(RESULTS / "layer_counts.md", ("\n".join(lines) + "\n").encode())
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
