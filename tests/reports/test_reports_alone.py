"""Reports stand alone: drawn from records without the framework, and without a pixel of anybody's images."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import made_up_runs as made
import pytest

from latency_tables.shipped import shipped_tables
from reports import write_report

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".ico", ".svg"}
ARRAYS = {
    ".npz",
    ".npy",
    ".pt",
    ".pth",
    ".bin",
    ".safetensors",
    ".onnx",
    ".pkl",
    ".pickle",
    ".h5",
    ".parquet",
}
PACKED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z"}

WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "timm", "onnxruntime", "bench", "pruning"):
    sys.modules[name] = None
from pathlib import Path
import made_up_runs as made
from latency_tables.shipped import shipped_tables
from reports import write_report
run = made.write(Path(sys.argv[1]) / "run", [*made.many(seeds=1), made.failed()])
files = write_report([run], Path(sys.argv[1]) / "out")
print(files.html.stat().st_size, len(files.images))
"""


def tracked() -> list[Path]:
    """The files of the repository; what a test or a user left beside them does not count."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a checkout to tell which files belong to the repository")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_a_whole_report_is_drawn_without_torch(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT / "tests" / "reports",
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    size, images = map(int, shown.stdout.split())
    assert size > 10_000
    assert images == 4 * 2 * 2


def test_the_repository_holds_no_images_but_our_own_charts() -> None:
    files = tracked()
    assert len(files) > 50
    shipped = set(shipped_tables().values())
    strange = [
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix.lower() in PICTURES | ARRAYS | PACKED
        and not path.is_relative_to(IMAGES)
        and path not in shipped  # which are latencies, and read as such by a test of theirs
    ]
    assert strange == []


def test_pictures_in_the_documents_are_charts_and_large() -> None:
    from PIL import Image

    # Images of CIFAR are 32 pixels wide and of ImageNet photographs, with tens of thousands of colours: a chart on
    # white is neither.
    pictures = [path for path in tracked() if path.is_relative_to(IMAGES)]
    assert pictures
    for path in pictures:
        if path.suffix == ".svg":
            assert "<image" not in path.read_text(encoding="utf-8"), path
            continue
        picture = Image.open(path).convert("RGB")
        assert min(picture.size) >= 200, path
        colours = picture.getcolors(maxcolors=picture.width * picture.height)
        most, commonest = max(colours)
        assert min(commonest) >= 250, path
        assert most > 0.5 * picture.width * picture.height, path


def test_no_text_of_the_repository_hides_an_image() -> None:
    hidden = re.compile(rb"data:image/(?!svg)[a-z]+;base64,|[A-Za-z0-9+/]{2000}|(?:\\x[0-9a-f]{2}){500}")
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix.lower() not in PICTURES and path != Path(__file__) and hidden.search(path.read_bytes())
    ]
    assert found == []


def test_a_report_holds_no_raster_image(tmp_path: Path) -> None:
    files = write_report(
        [made.write(tmp_path / "run", [*made.many(seeds=1), made.failed()])], tmp_path / "out"
    )
    # What the page's script is made of may speak of images; what the page shows of itself may not hold one.
    page = re.sub(r"<script(?! type).*?</script>", "", files.html.read_text(), flags=re.S)
    assert not re.findall(r"<(?:img|picture|video|canvas|object|embed|iframe|image)\b", page)
    # One empty icon keeps the browser from asking for one.
    assert re.findall(r"data:[a-z/+;0-9]*,.", page) == ['data:,"']
    for path in files.images:
        if path.suffix == ".svg":
            assert "<image" not in path.read_text(encoding="utf-8"), path
