"""The packages of the distributions that rows take, as files: for a bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchpair import buildx, mirrors
from torchpair.bundle import BundleError
from torchpair.engine import Engine
from torchpair.matrix import Mirror
from torchpair.progress import Progress
from torchpair.resolve import tools_apt
from torchpair.resources import text_templates
from torchpair.spec import Spec


@dataclass(frozen=True)
class Debs:
    """What is installed upon one image, step by step as the stages of a row do it. unpacked: packages that are only
    downloaded. mirrored: whether a mirror's address goes into its sources, as in the row's own build."""

    image: str
    distro: str
    steps: tuple[tuple[str, ...], ...]
    unpacked: tuple[str, ...] = ()
    mirrored: bool = False


def needed(spec: Spec) -> tuple[Debs, ...]:
    """The packages that a row's stages install (templates/image.Dockerfile.j2, source.j2)."""
    mirrored = spec.base != "local"
    steps, found = [], []
    if spec.torch_from != "base":
        steps.append(tuple(one.name for one in spec.apt))
        found.append(Debs(spec.tools, spec.tools_distro, (tools_apt(spec.tools_distro),), mirrored=mirrored))
        if spec.python_from == "distro":
            found.append(Debs(spec.image, spec.distro, (tools_apt(spec.distro),), mirrored=mirrored))
    unpacked: tuple[str, ...] = ()
    for recipe in spec.recipes:
        unpacked = recipe.toolkit_packages if recipe.toolkit == "debian" else unpacked
        if recipe.package == "torch" and recipe.toolkit == "devel" and recipe.toolkit_image:
            found.append(Debs(recipe.toolkit_image, spec.distro, (recipe.packages,), mirrored=mirrored))
        else:
            steps.append(recipe.packages)
    return (Debs(spec.image, spec.distro, tuple(steps), unpacked, mirrored), *found)


def fetch(engine: Engine, specs: Sequence[Spec], mirror: Mirror, place: Path, log: Path, shown: Progress) -> set[Path]:
    """Install what the rows' stages install, and keep the files in a folder that apt reads as a repository.

    apt has looked at the signatures by then; afterwards a sha256 stands for each file. Raises BundleError.
    """
    sets = list(dict.fromkeys(one for spec in specs for one in needed(spec) if one.steps or one.unpacked))
    if not sets:
        return set()
    shown.say(f"Packages of {', '.join(dict.fromkeys(one.distro for one in sets))}: about a minute.")
    log.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="torchpair-debs-", dir=place) as temporary:
        folder = Path(temporary)
        text = text_templates().get_template("debs.Dockerfile.j2").render(sets=sets)
        (folder / "Dockerfile").write_text(text, encoding="utf-8")
        argv = [
            *engine.buildx, "build", "--progress", "rawjson", "--no-cache", "--output", f"type=local,dest={folder}/out",
            "--platform", f"linux/{'arm64' if specs[0].arch == 'aarch64' else 'amd64'}",
        ]  # fmt: skip
        argv += ["--build-arg", f"APT_MIRROR={mirror.apt}"] if mirror.apt and any(one.mirrored for one in sets) else []
        argv += ["--network", "host"] if mirrors.here(mirror) else []
        steps = buildx.Steps("bundle", shown)
        ended = buildx.call(engine, [*argv, str(folder)], log, steps)
        if ended:
            raise BundleError(f"packages: {steps.failure or f'buildx ended with {ended}'}", why=f"log: {log}")
        for number, one in enumerate(sets):
            gather(folder / "out" / str(number), place / one.distro)
    for distro in dict.fromkeys(one.distro for one in sets):
        (place / f"{distro}.list").write_text(f"deb [trusted=yes] file:/mnt/apt/{distro} ./\n")
        (place / f"{distro}.conf").write_text(
            f'Dir::Etc::sourcelist "/mnt/apt/{distro}.list";\nDir::Etc::sourceparts "/dev/null";\n'
            'Acquire::Languages "none";\n'
        )
    return {path for path in place.rglob("*") if path.is_file()}


def gather(made: Path, target: Path) -> None:
    """Add the packages of one set, and what its Packages says of them, to those of a distribution."""
    target.mkdir(parents=True, exist_ok=True)
    listed = made / "Packages"
    told = target / "Packages"
    with told.open("a", encoding="utf-8") as out:
        for paragraph in listed.read_text(encoding="utf-8").strip().split("\n\n") if listed.is_file() else ():
            name = next(line for line in paragraph.splitlines() if line.startswith("Filename: ./")).split("./", 1)[1]
            if not (target / name).exists():
                (made / name).rename(target / name)
                out.write(paragraph + "\n\n")
