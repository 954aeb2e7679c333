"""A row's image + GPT-SoVITS -> an image of its own: recipe, lock, Dockerfile, build.

The row's files stay as they are: what is added goes into layers above them, and the end of the build hashes the row's
torch and torchaudio once more.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from torchpair import build, buildx, deploy, fetch, mirrors, sources, sovits
from torchpair.deploy import Flavour
from torchpair.engine import Engine
from torchpair.errors import BuildError, TorchpairError
from torchpair.fetch import FetchError
from torchpair.matrix import Mirror
from torchpair.probe.pack import pack
from torchpair.progress import Progress
from torchpair.resolve import UID
from torchpair.resources import text_templates
from torchpair.sovits import layout
from torchpair.sovits_lock import Lock, Question

RECIPE = Path(sovits.__file__).parent / "recipe.yaml"
PACKAGE = "torchpair_sovits"
REPOSITORY = "torchpair-gpt-sovits"
TEMPLATE = "gpt-sovits.Dockerfile.j2"
# Never into a layer: weights, what training wrote, another system's environment.
LEFT_OUT = (
    ".git", "__pycache__", "*.pth", "*.ckpt", "*.pt", "*.safetensors", "*.onnx", "*.bin", "logs", "output", "TEMP",
    "GPT_weights*", "SoVITS_weights*", "runtime", "venv", ".venv", "env", ".env",
)  # fmt: skip
Say = Callable[[str], None]


@dataclass(frozen=True)
class Application:
    """One GPT-SoVITS image, every question answered.

    base: the row's image. kept: name and version of every package of the row. lock, tools: what is added, and what
    compiles. data: whether language data goes in. code: where the code is from, in words; commit where it is known.
    """

    flavour: str
    base: str
    row: str
    python: str
    lock: Lock
    tools: Lock
    uv: tuple[str, ...]
    data: bool = True
    pip_check: tuple[str, ...] = ()
    code: str = ""
    commit: str = ""
    jtalk: tuple[str, str] = ("", "")
    webui: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def recipe() -> dict[str, Any]:
    """recipe.yaml as it is."""
    return dict(yaml.safe_load(RECIPE.read_text(encoding="utf-8")))


def requirements(flavour: Flavour, cuda: str) -> tuple[str, ...]:
    """What a flavour asks for: its own and those of the smaller ones. cuda: "12.8" or "cpu"."""
    listed = recipe()["requirements"]
    wanted = [item for name in deploy.FLAVOURS[: deploy.FLAVOURS.index(flavour) + 1] for item in listed[name]]
    major = cuda.split(".")[0]
    runtimes = recipe()["onnxruntime"]
    if major not in runtimes:
        raise TorchpairError(f"no onnxruntime is known for CUDA {cuda}", where=str(RECIPE.name))
    return (*wanted, runtimes[major])


def question(flavour: Flavour, row: str, python: str, cuda: str, kept: Mapping[str, str]) -> Question:
    """What locks/gpt-sovits/<flavour>-<row>.txt answers."""
    told = recipe()
    return Question(
        name=f"{flavour}-{row}",
        python=python,
        requirements=requirements(flavour, cuda),
        kept=tuple(sorted(kept.items())),
        overrides=tuple(f"{name}=={kept[name]}" for name in told["overrides"] if name in kept),
        bare=tuple(told["without_dependencies"]),
        sdists=tuple(told["sdists"]),
    )


def tools_question(row: str, python: str, kept: Mapping[str, str]) -> Question:
    """What compiles the packages that come as source: against the row's own NumPy."""
    numpy = [f"numpy=={kept['numpy']}"] if "numpy" in kept else []
    return Question(f"tools-{row}", python, (*recipe()["build_tools"], *numpy))


def lock_path(question: Question, locks: Path) -> Path:
    return locks / "gpt-sovits" / f"{question.name}.txt"


def dockerfile(application: Application) -> str:
    """The text of the Dockerfile."""
    return (
        text_templates()
        .get_template(TEMPLATE)
        .render(
            app=application, layout=layout, uid=UID, health=deploy.health_command,
            start_period=deploy.START_PERIOD,
        )
    )  # fmt: skip


def reference(application: Application) -> str:
    """The image's name: flavour, then the tag of the row it stands on."""
    return f"{REPOSITORY}:{application.flavour}-{application.base.rpartition(':')[2]}"


def code(asked: str | None, folder: Path, mirror: Mirror, say: Say) -> tuple[Path, str, str]:
    """The code to put in: its folder, where it is from in words, its commit ("" where unknown). Raises SourceError."""
    told = recipe()
    source = sources.parse(asked) if asked else sources.Source("git", told["url"], told["ref"], told["commit"])
    if source.kind == "git" and source.ref is None:
        source = sources.Source("git", source.place, told["ref"], source.commit)
    path = sources.fetch(source, folder, mirror, say)
    if not (path / "api_v2.py").is_file():
        raise sources.SourceError(
            f"{source} has no api_v2.py", why="the top folder of GPT-SoVITS has one", remedy=f"git+{told['url']}"
        )
    commit = source.ref if source.kind == "git" and source.ref and len(source.ref) == 40 else ""
    return path, str(source), commit or ""


def stage(path: Path, target: Path) -> None:
    """Copy the code as it goes into the image: no weights, nothing that training wrote."""
    shutil.rmtree(target, ignore_errors=True)
    kept = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(path, target, ignore=kept, symlinks=True, ignore_dangling_symlinks=True)


def language_data(target: Path, given: Path | None, say: Say) -> None:
    """NLTK's three packages into a folder: from one of the user's own, or fetched and compared. Raises BuildError."""
    told = recipe()["nltk"]
    shutil.rmtree(target, ignore_errors=True)
    if given is not None:
        if not (given / "corpora").is_dir() or not (given / "taggers").is_dir():
            raise BuildError(
                f"{given} is no folder of NLTK's data", why="it holds the folders corpora and taggers", where="--nltk"
            )
        shutil.copytree(given, target)
    for name, sha256 in told["files"].items():
        place = target / name
        if not place.is_file():
            if place.with_suffix("").is_dir():
                continue  # unpacked already: a folder of one's own is taken as it is
            place.parent.mkdir(parents=True, exist_ok=True)
            say(f"fetching {told['url']}/{name}")
            try:
                fetch.bring(f"{told['url']}/{name}", place)
            except (FetchError, OSError) as error:
                raise BuildError(
                    f"NLTK's {name} cannot be fetched", why=str(error),
                    remedy=f"fetch it elsewhere from {told['url']}/{name}, then --nltk FOLDER",
                ) from error  # fmt: skip
        found = fetch.digest(place)
        if found != sha256:
            raise BuildError(f"NLTK's {name} is not the one that was meant", why=f"sha256 is {found}\n    not {sha256}")
        with zipfile.ZipFile(place) as packed:
            packed.extractall(place.parent)
        place.unlink()


def image(
    engine: Engine,
    application: Application,
    code_folder: Path,
    data_folder: Path | None,
    log: Path,
    progress: Progress,
    mirror: Mirror,
    tag: str | None = None,
) -> str:
    """Build; the image's reference. Raises BuildError."""
    name = tag or reference(application)
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="torchpair-sovits-") as temporary:
        folder = Path(temporary)
        context = folder / "context"
        context.mkdir()
        pack(context / "sovits.pyz", RECIPE.parent, PACKAGE)
        (context / "pip-check.json").write_text(json.dumps(list(application.pip_check)), encoding="utf-8")
        (folder / "Dockerfile").write_text(dockerfile(application), encoding="utf-8")
        stage(code_folder, folder / "code")
        empty = folder / "empty"
        empty.mkdir()
        argv = [
            *engine.buildx, "build", "--progress", "rawjson", "--load", "--tag", name, "--provenance", "false",
            "--file", str(folder / "Dockerfile"), "--build-context", f"gpt-sovits={folder / 'code'}",
            "--build-context", f"data={data_folder or empty}",
        ]  # fmt: skip
        bundle = build.ca_bundle()
        argv += ["--secret", f"id=ca,src={bundle}"] if bundle else []
        argv += ["--build-arg", f"PYPI_INDEX={mirrors.plain(mirror.pypi)}"] if mirror.pypi else []
        steps, began = buildx.Steps("gpt-sovits", progress), time.monotonic()
        secrets = {"netrc": mirrors.logins(mirror)}
        ended = buildx.call(engine, [*argv, str(context)], log, steps, secrets=secrets)
        if ended:
            progress.end("gpt-sovits", "build failed")
            raise BuildError(f"gpt-sovits: {steps.failure or f'buildx ended with {ended}'}", why=f"log: {log}")
        progress.end("gpt-sovits", f"built in {time.monotonic() - began:.0f} s")
    return name
