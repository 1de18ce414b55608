"""The commands that make networks smaller: one pruning, or a sweep of many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.terminal import Terminal
from bench.words import (
    DEFAULT_OUT,
    AsJson,
    Batch,
    DeviceKind,
    Input,
    NetworkName,
    Options,
    Precision,
    RuntimeName,
    Threads,
    Weights,
    Workspace,
    parse_options,
    plain_name,
    print_json,
    stoppable,
    this_command,
)
from latency_tables.errors import UserError

if TYPE_CHECKING:
    from bench.workbench import Material

ImageSource = Annotated[str, typer.Option("--images", help="digits, folder:PATH, npz:PATH or cifar10:PATH.")]
ShiftName = Annotated[
    str | None,
    typer.Option(
        "--shift",
        help="Corrupts all images first, NAME:1 to 5, as in gaussian_noise:3; another name lists what there is.",
    ),
]
Train = Annotated[
    str | None,
    typer.Option(
        help="Labelled images to train from scratch on, or a number: so many of --images, and the rest judges. "
        "Default: the calibration images; of `lathe sweep NETWORK` four fifths of --images, at most 10000."
    ),
]
Calibration = Annotated[int, typer.Option(help="Unlabelled images to prune and heal on; the rest judge.")]
Epochs = Annotated[int, typer.Option(help="Of training from scratch.")]
_AUGMENTATIONS = "Of training images: crop-flip, crop, resized-crop-flip (large images) or none."


def prune(
    network: NetworkName,
    images: ImageSource,
    budget: Annotated[
        str,
        typer.Option(
            help="Share of the unpruned latency (0.7x) or a time (8ms); for methods that take single weights out, "
            "the share of these (90%)."
        ),
    ],
    weights: Weights = None,
    input_shape: Input = None,
    shift: ShiftName = None,
    calibration: Calibration = 500,
    method: Annotated[
        str,
        typer.Option(
            help="ttmpd, ttmpd-once, ttmpd-no-latency, practise (or practise-STEPS), random or last; trained from "
            "scratch: epsd, epsd-first-order, prospr, snip, grasp, synflow, magnitude or random-weights, each also "
            "as NAME-structured; kd."
        ),
    ] = "ttmpd",
    iterations: Annotated[int, typer.Option(help="Steps of finetuning.")] = 200,
    rounds: Annotated[int, typer.Option(help="Most turns of choosing and timing.")] = 4,
    train: Train = None,
    epochs: Epochs = 30,
    learning_rate: Annotated[float, typer.Option(help="Of training from scratch, the highest.")] = 0.1,
    schedule: Annotated[str, typer.Option(help="Of training from scratch: cosine or step.")] = "cosine",
    average: Annotated[
        float,
        typer.Option(help="Of training from scratch: decay of the moving average of the weights; 0: none."),
    ] = 0.0,
    self_distillation: Annotated[
        str, typer.Option(help="Of training from scratch: cs-kd, ps-kd, dlb or none.")
    ] = "cs-kd",
    augmentation: Annotated[str, typer.Option(help=_AUGMENTATIONS)] = "crop-flip",
    controls: Annotated[
        bool,
        typer.Option(help="Make what the result must stand beside, too: one to five more trainings."),
    ] = True,
    runtime: RuntimeName = "onnxruntime",
    device: DeviceKind = "cpu",
    threads: Threads = 1,
    batch: Batch = 1,
    precision: Precision = "fp32",
    option: Options = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name of the run's folder.")] = None,
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """One method, one budget: weights, ONNX, plan and measured latency."""
    from bench import point_views
    from bench.sweep import default_name, run_sweep
    from bench.sweep_config import make_config

    terminal = Terminal(quiet=as_json)
    fields = {
        "network": network,
        "weights": weights,
        "input": input_shape,
        "images": images,
        "shift": shift,
        "calibration": calibration,
        "methods": (method,),
        "budgets": (budget,),
        "seeds": (seed,),
        "runtimes": (runtime,),
        "device": device,
        "threads": threads,
        "batch": batch,
        "precision": precision,
        "options": dict(parse_options(option)),
        "iterations": iterations,
        "rounds": rounds,
        "train": train,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "average": average,
        "self_distillation": self_distillation,
        "augmentation": augmentation,
        "controls": controls,
    }
    config = make_config(fields, "this pruning")
    folder = out / "runs" / (plain_name(name) or default_name(config))
    with stoppable("The table keeps what was measured; the same command starts this pruning again."):
        points = run_sweep(config, folder, out, terminal, command=this_command(), again=True)
    (point,) = points
    if as_json:
        print_json(point_views.point_json(point) | {"folder": str(folder)})
    else:
        point_views.show_point(terminal, point)
        terminal.results.print(f"results   {folder}")
    if point.status == "failed" or point.met is False:
        raise typer.Exit(1)


def sweep(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="CONFIG.toml|NETWORK", help="A TOML file, see the README; or a network.")
    ],
    images: Annotated[
        str | None, typer.Option(help="With a NETWORK: digits, folder:PATH, npz:PATH or cifar10:PATH.")
    ] = None,
    weights: Weights = None,
    input_shape: Input = None,
    shift: ShiftName = None,
    calibration: Calibration = 500,
    train: Train = None,
    epochs: Epochs = 30,
    augmentation: Annotated[
        str | None, typer.Option(help=f"{_AUGMENTATIONS} Default: what is usual for such images.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="Of everything random, 0 by default; may be repeated.")
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="onnxruntime by default; see `lathe devices`. May be repeated, and carry a precision of its own: "
            "'onnxruntime int8'."
        ),
    ] = None,
    device: DeviceKind = "cpu",
    threads: Threads = 1,
    batch: Batch = 1,
    precision: Precision = "fp32",
    option: Options = None,
    name: Annotated[str | None, typer.Option(help="Name of the run's folder.")] = None,
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Methods × budgets × seeds × runtimes; goes on where it was stopped."""
    from bench import point_views
    from bench.default_sweep import default_sweep
    from bench.sweep import default_name, run_sweep
    from bench.sweep_config import make_config, read_config

    terminal = Terminal(quiet=as_json)
    material: Material | None = None
    if what.endswith(".toml"):
        _refuse_beside_a_file(context)
        config = read_config(Path(what))
        folder = out / "runs" / (plain_name(name) or Path(what).stem)
    else:
        if images is None:
            raise UserError(
                f"a sweep over {what} needs images: --images folder:PATH, npz:PATH or cifar10:PATH"
            )
        fields: dict[str, Any] = {
            "network": what,
            "weights": weights,
            "input": input_shape,
            "images": images,
            "shift": shift,
            "calibration": calibration,
            "train": train,
            "epochs": epochs,
            "seeds": tuple(seed or (0,)),
            "runtimes": tuple(runtime or ("onnxruntime",)),
            "device": device,
            "threads": threads,
            "batch": batch,
            "precision": precision,
            "options": dict(parse_options(option)),
            **({} if augmentation is None else {"augmentation": augmentation}),
        }
        config, material = default_sweep(make_config(fields, "this sweep"), terminal.say)
        folder = out / "runs" / (plain_name(name) or default_name(config))
    with stoppable("Finished points are stored; the same command goes on from there."):
        points = run_sweep(config, folder, out, terminal, command=this_command(), material=material)
    failed = sum(point.status == "failed" for point in points)
    if as_json:
        print_json({"folder": str(folder), "points": [point_views.point_json(point) for point in points]})
    else:
        point_views.show_points(terminal, points)
        terminal.results.print(f"results in {folder}; draw them with: lathe report {folder}")
    if failed:
        raise typer.Exit(1)


def _refuse_beside_a_file(context: typer.Context) -> None:
    """Words that the file decides.

    Raises:
        UserError: one was said on the command line.
    """
    free = ("what", "name", "out", "as_json")
    sources = {name: context.get_parameter_source(name) for name in context.params if name not in free}
    said = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    if said:
        words = ", ".join(f"--{name.replace('_shape', '').replace('_', '-')}" for name in said)
        raise UserError(f"the TOML file says what the sweep runs; write {words} into it")
