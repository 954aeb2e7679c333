"""Rendered Dockerfiles: what is committed, and what stands in it."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
import pytest

from torchpair import lock as locks
from torchpair import render
from torchpair.resolve import UID, tools_apt
from torchpair.spec import Spec
from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dockerfiles").glob("*/*Dockerfile"))
EIGHT = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'
each_file = pytest.mark.parametrize("file", FILES, ids=[f"{f.parent.name}/{f.name}" for f in FILES])
# Those that compile nothing; test_recipe.py looks into the others.
PLAIN = [f for f in FILES if "compiler.pyz" not in f.read_text(encoding="utf-8")]
plain_file = pytest.mark.parametrize("file", PLAIN, ids=[f"{f.parent.name}/{f.name}" for f in PLAIN])


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile: its lines joined, without comments; its heredocs by their word."""

    word: str
    rest: str
    heredocs: dict[str, list[str]]


def parse(text: str) -> list[Instruction]:
    """Enough of a Dockerfile parser: comments, continuations, heredocs."""
    found, lines = [], iter(text.split("\n"))
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        logical = line
        while logical.endswith("\\"):
            following = next(lines)
            if not following.lstrip().startswith("#"):
                logical = logical[:-1].rstrip() + " " + following.strip()
        word, _, rest = logical.partition(" ")
        heredocs = {}
        for mark in re.findall(r"<<'?([A-Z]+)'?", rest):
            heredocs[mark] = body = []
            while (inside := next(lines)) != mark:
                body.append(inside)
        assert re.fullmatch("[A-Z]+", word), line
        found.append(Instruction(word, rest, heredocs))
    return found


def stages(instructions: list[Instruction]) -> dict[str, list[Instruction]]:
    """Instructions by stage; those before the first FROM under ""."""
    found: dict[str, list[Instruction]] = {"": []}
    for instruction in instructions:
        if instruction.word == "FROM":
            name = instruction.rest.partition(" AS ")[2]
            assert name and name not in found
            found[name] = []
        else:
            found[list(found)[-1]].append(instruction)
    return found


@pytest.fixture
def committed(shipped: Workspace) -> dict[str, Spec]:
    """The spec of each committed file, by its path below dockerfiles/."""
    return {render.file_name(spec): spec for spec in shipped.everywhere()}


def spec_of(file: Path, committed: dict[str, Spec]) -> Spec:
    return committed[file.relative_to(ROOT / "dockerfiles").as_posix()]


# ---- what is committed --------------------------------------------------------------------------------------------


def test_what_is_committed_is_what_would_be_rendered(shipped: Workspace) -> None:
    assert shipped.drift() == []


def test_every_row_has_a_file_and_every_file_a_row(committed: dict[str, Spec]) -> None:
    assert [f.relative_to(ROOT / "dockerfiles").as_posix() for f in FILES] == sorted(committed)
    assert len(FILES) >= 7


@plain_file
def test_stages_and_layers(file: Path, committed: dict[str, Spec], shipped: Workspace) -> None:
    spec = spec_of(file, committed)
    found = stages(parse(file.read_text(encoding="utf-8")))
    wheels = ["cuda", "metadata", "python", "triton", "torch", "audio"] if shipped.lock(spec) else ["wheels"]
    own = ["interpreter"] if spec.python_from == "distro" else []
    # What a stage binds stands right before it.
    made = [name for stage in wheels for name in ((stage,) if stage == "metadata" else (f"{stage}-lock", stage))]
    probe = ["probe-files", "probe"]
    given = ["bundle", "base", "helpers", "tools", *own, "venv", *made, *probe, "kept", "bytecode", "image"]
    assert [*found] == ["", *given]
    copies = [i.rest for name in ("kept", "image") for i in found[name] if i.word == "COPY"]
    assert all(copy.startswith("--link ") for copy in copies)
    order = [("cuda", "cuda"), ("cuda", "cudnn"), ("metadata", "metadata")] if "cuda" in wheels else []
    order += [("venv", "venv")]
    # What no Python changes comes right below the rest of its wheel.
    split = {"triton": ["triton-nvidia"], "torch": ["torch-linalg", "torch-cuda"]}
    for stage in wheels:
        if stage not in ("cuda", "metadata"):
            order += [("bytecode", "bytecode")] if stage == "audio" else []
            order += [(stage, name) for name in [*split.get(stage, ()), stage]]
    order += [("probe", "probe")] if "audio" in wheels else [("bytecode", "bytecode"), ("probe", "probe")]
    assert copies == [f"--link --from={stage} /layer/{name} /" for stage, name in order]
    shares = {stage: re.findall(r"&& share (\S+) ", i.rest) for stage in found for i in found[stage] if i.word == "RUN"}
    assert {stage: names for stage, names in shares.items() if names} == ({} if "wheels" in wheels else split)
    given = [*found["kept"], *found["image"]]
    assert not [i for i in given if i.word in ("RUN", "ADD")], "a RUN here would depend on all that is below"
    assert [i.rest for i in found["image"] if i.word == "USER"] == [f"{UID}:{UID}"]
    assert [i.rest for i in found[""]] == [f"BASE={spec.image}", f"TOOLS={spec.tools}"]
    parents = {s: parent for parent, s in re.findall(r"^FROM (\S+) AS (\S+)$", file.read_text(), re.MULTILINE)}
    # Of no row's Python or distribution: one stage for all.
    assert parents["tools"] == "${TOOLS}" and parents.get("cuda") in ("tools", None)
    # A row of the tools' own distribution makes the step that they begin with once.
    steps = {name: next(i for i in found[name] if "apt-get" in i.rest) for name in ("tools", *own)}
    if own and spec.distro == spec.tools_distro:
        assert steps["interpreter"] == steps["tools"]
    # What BuildKit reads to know the content of a RUN's root: no stage adds a file to what another one begins with.
    whole = [name for name in found if parents.get(name) in ("tools", "interpreter", "venv")]
    assert whole == [*(["venv"] if own else []), *wheels, "probe"]
    assert not [i for name in whole for i in found[name] if i.word in ("COPY", "ADD")]
    for name in whole:
        (run,) = [i.rest for i in found[name] if i.word == "RUN"]
        assert run.startswith("--mount=from=helpers,target=/opt/helpers ")
    assert parents["venv"] == (own or ["base"])[0]
    # It need not wait until the layers below it are copied: it sees each of them where it was made.
    (run,) = [i.rest for i in found["bytecode"] if i.word == "RUN"]
    seen = re.findall(r"--mount=from=(\S+),source=/layer,", run)
    assert parents["bytecode"] == "base"
    assert seen == list(dict.fromkeys(stage for stage, _ in order if stage not in ("bytecode", "audio", "probe")))


@plain_file
def test_every_locked_wheel_appears_once_in_the_stage_of_its_layer(
    file: Path, committed: dict[str, Spec], shipped: Workspace
) -> None:
    spec = spec_of(file, committed)
    lock = shipped.lock(spec)
    found = stages(parse(file.read_text(encoding="utf-8")))
    given = {name: [line for i in stage for line in i.heredocs.get("LOCK", ())] for name, stage in found.items()}
    assert found["helpers"][0].rest == "--chmod=755 uv /uv", "from the context"
    lines = [line for stage in given.values() for line in stage]
    assert sorted(lines) == sorted(wheel.line for wheel in lock.wheels) if lock else not lines
    for stage, own in given.items():
        names = [name for i in found[stage] for name in re.findall(r" /(\S+)\.txt$", i.rest) if i.word == "COPY"]
        assert [line for i in found[stage] for line in sorted(i.heredocs.get("LOCK", ()))] == own
        if own:
            layer = stage.removesuffix("-lock")
            (run,) = [i for i in found[layer] if i.word == "RUN"]
            asked = '-r "/locks/$layer.txt"' if layer == "cuda" else f"-r /locks/{layer}.txt"
            if f" /locks/{layer}.txt > /var/tmp/{layer}.txt " in run.rest:  # with a mirror's address in its place
                assert spec.index == "pytorch" and layer in ("torch", "audio")
                asked = f"-r /var/tmp/{layer}.txt"
            for option in ("--no-deps", "--require-hashes", "--only-binary :all:", asked):
                assert option in run.rest
            assert f"--mount=from={stage},target=/locks " in run.rest and stage.endswith("-lock")
            assert names == (["cuda", "cudnn"] if layer == "cuda" else [layer])
    if lock:
        assert {line.split("==")[0] for line in given["audio-lock"]} <= {
            "torchaudio",
            "torchcodec",
            "soundfile",
            "cffi",
            "pycparser",
        }
        assert all(line.startswith(("nvidia-", "cuda-toolkit")) and "-none-" in line for line in given["cuda-lock"])


@plain_file
def test_packages_of_the_distribution_one_a_line_and_sorted(file: Path, committed: dict[str, Spec]) -> None:
    text = file.read_text(encoding="utf-8")
    lists = re.findall(r"apt-get install -y --no-install-recommends \\\n((?:      .*\n)+)", text)
    from_distro = spec_of(file, committed).python_from == "distro"
    assert len(lists) == (3 if from_distro else 2), "base, tools, and interpreter"
    for block in lists:
        lines = [line.strip() for line in block.splitlines() if not line.lstrip().startswith("#")]
        names = [line.removesuffix("\\").strip() for line in lines]
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in names), names
        assert names == sorted(set(names))
    listed = [line.strip(" \\") for line in lists[0].splitlines() if "#" not in line]
    assert listed == [package.name for package in spec_of(file, committed).apt]
    spec = spec_of(file, committed)
    asked = [tools_apt(distro) for distro in (spec.tools_distro, spec.distro)]
    assert [tuple(block.split()) for block in lists[1:]] == asked[: len(lists) - 1]
    assert {*asked} <= {("python3",), ("python3-minimal",)}
    assert f"--print-uris -qq -o Acquire::ForceHash=SHA256 {' '.join(listed)} \\\n" in text, "the same packages ahead"


def test_what_apt_helper_is_given_of_the_addresses_that_apt_names() -> None:
    """As apt 2.4 to 3.0 print them with Acquire::ForceHash=SHA256."""
    text = next(f for f in FILES if f.name == "local.Dockerfile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ +\| (sed -E \".+\") \\$", text, re.MULTILINE)
    (words,) = re.findall(r"^ +\| xargs -r -n (\d+) ", text, re.MULTILINE)
    assert int(words) % 3 == 0, "address, file, hash"
    address, file, digest = (
        "http://mirror.test/f/ffmpeg_7.1.5-0%2bdeb13u1.deb",
        "ffmpeg_7%3a7.1.5_amd64.deb",
        "0" * 64,
    )
    done = subprocess.run(
        ["bash", "-c", command], input=f"'{address}' {file} 2001936 SHA256:{digest}\n",
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == f"{address} {file} SHA256:{digest}\n"


@each_file
def test_labels_and_expectation_say_what_the_spec_says(
    file: Path, committed: dict[str, Spec], shipped: Workspace
) -> None:
    spec = spec_of(file, committed)
    image = stages(parse(file.read_text(encoding="utf-8")))["image"]
    (label,) = [i.rest for i in image if i.word == "LABEL"]
    said = dict(pair.split("=", 1) for pair in shlex.split(label))
    assert said == render.labels(spec)
    assert said["org.opencontainers.image.version"] == spec.tag
    assert said["torchpair.torch"] == spec.torch and said["torchpair.base"] == f"{spec.base}:{spec.distro}"
    everything = stages(parse(file.read_text(encoding="utf-8")))
    probe = everything["image" if spec.torch_from == "base" else "probe-files"]
    (body,) = [i.heredocs["SPEC"] for i in probe if "SPEC" in i.heredocs]
    lock = shipped.lock(spec)
    assert json.loads("\n".join(body)) == json.loads(json.dumps(render.expectation(spec, lock)))


@each_file
def test_no_frontend_is_pulled_and_a_banner_stands_first(file: Path, committed: dict[str, Spec]) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"^#\s*(syntax|escape|check)\s*=", text, re.MULTILINE | re.IGNORECASE)
    assert text.startswith(f"# {render.BANNER}\n# Row {spec_of(file, committed).name}, base ")
    # A base whose torch is kept keeps its own command too.
    assert text.endswith('CMD ["python"]\n') or spec_of(file, committed).torch_from == "base"
    assert not re.search(r"[ \t]$|{[{%#]|\r", text, re.MULTILINE)


def test_no_address_of_a_package_registry_is_committed() -> None:
    """Names and hashes are enough, on any mirror. The hosts are put together here, to keep them out of this file."""
    hosts = [
        ".".join(parts)
        for parts in (("pypi", "org"), ("python" + "hosted", "org"), ("debian", "org"), ("ubuntu", "com"))
    ]
    kept = [*FILES, *(ROOT / "locks").rglob("*.txt"), ROOT / "docker-bake.json"]
    assert len(kept) > 8
    assert [(f.name, host) for f in kept for host in hosts if host in f.read_text(encoding="utf-8")] == []


# ---- scripts of the helpers stage -----------------------------------------------------------------------------------


@pytest.fixture
def tool(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`tool("share", ...)`: a script of the stage helpers as rendered, with /layer below tmp_path."""
    file = next(f for f in FILES if f.name == "local.Dockerfile")
    given = stages(parse(file.read_text(encoding="utf-8")))["helpers"]
    (tmp_path / "uv").mkdir()

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (body,) = [i.heredocs[name.upper()] for i in given if name.upper() in i.heredocs]
        script = re.sub(r"(?<![\w\"/])/layer\b", f"{tmp_path}/layer", "\n".join(body))
        assert script.count(f"{tmp_path}/layer") == "\n".join(body).count("/layer") > 0
        (tmp_path / name).write_text(script)
        argv = ["bash", str(tmp_path / name), *arguments]
        env = {"PATH": "/usr/bin:/bin", "UV_CACHE_DIR": str(tmp_path / "uv")}
        return subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site-packages of a layer as uv leaves it, with a torch and a triton."""
    found = tmp_path / "layer/torch/opt/venv/lib/python3.11/site-packages"
    for name in (
        "torch/lib/libtorch_cuda.so",
        "torch/lib/libtorch_cpu.so",
        "torch/__init__.py",
        "torch/__pycache__/__init__.cpython-311.pyc",
        "triton/backends/nvidia/bin/ptxas",
        "triton/backends/nvidia/bin/a name with spaces",
        "triton/backends/nvidia/lib/cupti/libcupti.so",
        "triton/backends/nvidia/driver.py",
    ):
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_text(f"content of {name}")
    (found / "triton/backends/nvidia/bin/ptxas").chmod(0o755)
    return found


def laid_over(layers: Path, target: Path) -> Path:
    """The root of an image: every layer laid over the others, as COPY does."""
    for layer in layers.iterdir():
        subprocess.run(["cp", "-a", f"{layer}/.", str(target)], check=True)
    return target


Tool = Callable[..., subprocess.CompletedProcess[str]]


def test_share_moves_files_to_a_layer_that_names_no_python(tool: Tool, site: Path, tmp_path: Path) -> None:
    before = tree(site)
    for arguments in (
        ("torch-cuda", "torch/lib/libtorch_cuda.so"),
        ("triton-nvidia", "triton/backends/nvidia/bin", "triton/backends/nvidia/lib"),
    ):
        done = tool("share", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
    layers = tmp_path / "layer"
    moved = {p.relative_to(layers).as_posix() for p in layers.rglob("*") if p.is_file() and not p.is_symlink()}
    assert {p for p in moved if not p.startswith("torch/")} == {
        "torch-cuda/opt/venv/lib/shared/torch/lib/libtorch_cuda.so",
        "triton-nvidia/opt/venv/lib/shared/triton/backends/nvidia/bin/ptxas",
        "triton-nvidia/opt/venv/lib/shared/triton/backends/nvidia/bin/a name with spaces",
        "triton-nvidia/opt/venv/lib/shared/triton/backends/nvidia/lib/cupti/libcupti.so",
    }
    # uv fails to uninstall what lies in a folder that is a link (0.13.9): only files are links.
    links = [p for p in layers.rglob("*") if p.is_symlink()]
    assert len(links) == 4 and not [p for p in site.rglob("*") if p.is_symlink() and p.is_dir()]
    root = laid_over(layers, tmp_path)
    installed = root / "opt/venv/lib/python3.11/site-packages"
    assert tree(installed) == before, "every file is found at its place, through its link"
    assert (installed / "triton/backends/nvidia/bin/ptxas").stat().st_mode & 0o777 == 0o755
    assert not (root / "opt/venv/lib/python3.11/site-packages/torch/lib/libtorch_cpu.so").is_symlink()


def test_share_leaves_out_what_a_wheel_does_not_have(tool: Tool, site: Path, tmp_path: Path) -> None:
    before = tree(site)
    done = tool("share", "triton-nvidia", "triton/common/../third_party", "no/such/thing.so")
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(site) == before
    assert (tmp_path / "layer/triton-nvidia").is_dir(), "COPY needs the folder"


def test_share_ends_with_an_error_where_there_is_no_environment(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    assert tool("share", "torch-cuda", "torch/lib/libtorch_cuda.so").returncode != 0


def test_settle_makes_two_builds_alike(tool: Tool, site: Path, tmp_path: Path) -> None:
    uvs = [tmp_path / "layer/torch/opt/venv/.lock", tmp_path / "layer/cuda/opt/venv/cuda/.lock"]
    for path in uvs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (site / "torch/_vendor").mkdir()
    (site / "torch/_vendor/.lock").write_text("a wheel's own, as setuptools has one")
    (site / "link").symlink_to("torch")
    (tmp_path / "uv/wheel").write_text("cached")
    kept = {p for p in tree(site) if "__pycache__" not in p}
    done = tool("settle")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(tree(site)) == kept
    assert "torch/_vendor/.lock" in kept and not [path for path in uvs if path.exists()]
    assert not list((tmp_path / "layer").rglob("__pycache__")) and not (tmp_path / "uv").exists()
    everything = [tmp_path / "layer", *(tmp_path / "layer").rglob("*")]
    assert {p.lstat().st_mtime for p in everything} == {float(render.EPOCH)}


def test_bytecode_is_bound_to_the_source_and_the_same_each_time(tmp_path: Path) -> None:
    file = next(f for f in FILES if f.name == "local.Dockerfile")
    given = stages(parse(file.read_text(encoding="utf-8")))["helpers"]
    (body,) = [i.heredocs["BYTECODE"] for i in given if "BYTECODE" in i.heredocs]
    site = tmp_path / "opt/venv/site"
    (site / "torch").mkdir(parents=True)
    (site / "torch/__init__.py").write_text("from torch import used\n")
    (site / "torch/used.py").write_text("def f(x: int) -> int:\n    return x + 1\n")
    (site / "torch/unused.py").write_text("")
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site)}

    def compiled(name: str) -> tuple[dict[str, bytes], str]:
        layer = tmp_path / name
        script = tmp_path / f"{name}.py"
        script.write_text("\n".join(body).replace("/layer/", f"{layer}/").replace('"/opt/', f'"{tmp_path}/opt/'))
        done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return {str(path): path.read_bytes() for path in sorted(layer.rglob("*.pyc"))}, done.stdout

    first, said = compiled("first")
    assert "numpy cannot be imported" in said and "torch cannot" not in said
    assert sorted(Path(path).name.split(".")[0] for path in first) == ["__init__", "used"]
    assert {path.split("/torch/")[1].split("/")[0] for path in first} == {"__pycache__"}
    assert list(compiled("second")[0].values()) == list(first.values())
    head = next((tmp_path / "first").rglob("used.*.pyc")).read_bytes()[:16]
    assert head[4:] == b"\3\0\0\0" + importlib.util.source_hash((site / "torch/used.py").read_bytes())

    # A row that was forced: torch ends with an error, the build does not.
    (site / "torch/__init__.py").write_text("from torch import used\nraise OSError('libcudart.so.12')\n")
    said = compiled("third")[1]
    assert "torch cannot be imported, so its bytecode is left out: libcudart.so.12" in said
    assert (tmp_path / "third/bytecode/opt/venv").is_dir()


# ---- hadolint -----------------------------------------------------------------------------------------------------


def hadolint(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).parent / "hadolint"), "--config", str(ROOT / ".hadolint.yaml"), *arguments]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)


def test_hadolint_finds_nothing() -> None:
    done = hadolint(*map(str, FILES))
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something() -> None:
    done = hadolint("-", stdin="FROM debian:12\nRUN cd /tmp && sudo apt-get install x\n")
    assert done.returncode == 1 and "DL3004" in done.stdout


# ---- rendering ----------------------------------------------------------------------------------------------------

MakeSpec = Callable[..., Spec]


def test_rendering_is_deterministic(shipped: Workspace) -> None:
    specs = shipped.everywhere()
    first = shipped.rendered(specs)
    render.text_templates.cache_clear()
    assert Workspace(shipped.file).rendered(specs[::-1]) == first


def test_a_row_without_a_lock_says_so(spec: MakeSpec, shipped: Workspace) -> None:
    one = spec('torch: "2.1.0", cuda: "11.8", python: "3.10"')
    text = render.dockerfile(one, None, locks.read_tools(shipped.locks))
    assert "# NOT LOCKED:" in text and f"torchpair lock {one.name}" in text
    found = stages(parse(text))
    assert "\n".join(found["wheels-lock"][0].heredocs["PROJECT"]) + "\n" == locks.project(one)
    (run,) = [i.rest for i in found["wheels"] if i.word == "RUN"]
    assert "-r /locks/pyproject.toml" in run and "--require-hashes" not in run
    (body,) = [i.heredocs["SPEC"] for i in stages(parse(text))["probe-files"] if i.heredocs]
    assert json.loads(body[0])["lock"] is None


def test_a_row_with_a_lock_does_not(spec: MakeSpec, shipped: Workspace) -> None:
    one = spec(EIGHT)
    lock = locks.read(one, shipped.locks)
    assert lock
    assert "NOT LOCKED" not in render.dockerfile(one, lock, locks.read_tools(shipped.locks))


def test_a_row_without_cuda_libraries_has_no_stage_for_them(spec: MakeSpec, shipped: Workspace) -> None:
    one = spec('torch: "2.8.0", cuda: cpu, python: "3.11"', "local")
    wheel = locks.Locked("torch", "2.8.0+cpu", "0" * 64, "torch-2.8.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", None)
    text = render.dockerfile(one, locks.Lock(locks.asked(one), (wheel,)), locks.read_tools(shipped.locks))
    found = stages(parse(text))
    torch, probe = ["torch-lock", "torch"], ["probe-files", "probe"]
    given = ["bundle", "base", "helpers", "tools", "interpreter", "venv", *torch, *probe, "kept", "bytecode", "image"]
    assert [*found] == ["", *given]
    assert "nvidia" not in "".join(i.rest for i in found["venv"])
    copies = [i.rest for name in ("kept", "image") for i in found[name] if i.word == "COPY"]
    assert copies == [f"--link --from={name} /layer/{name} /" for name in ("venv", "torch", "bytecode", "probe")]
    assert "&& share " not in text


@pytest.mark.parametrize(("python", "came_from"), [("3.10", "distro"), ("3.11", "uv")])
def test_where_python_comes_from(spec: MakeSpec, shipped: Workspace, python: str, came_from: str) -> None:
    one = spec(f'torch: "2.8.0", cuda: "12.8", python: "{python}"')
    assert one.python_from == came_from
    text = render.dockerfile(one, None, locks.read_tools(shipped.locks))
    assert (f"uv python install --no-bin {python}" in text) == (came_from == "uv")
    assert (f"--python /usr/bin/python{python} /opt/venv" in text) == (came_from == "distro")


def test_undefined_names_are_errors() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render.text_templates().from_string("{{ nothing }}").render()


def test_labels_of_a_cpu_row(spec: MakeSpec) -> None:
    said = render.labels(spec('torch: "2.8.0", cuda: cpu, python: "3.11"'))
    assert said["org.opencontainers.image.description"] == "torch 2.8.0 and torchaudio 2.8.0, CPU, Python 3.11"
    assert (said["torchpair.cuda"], said["torchpair.sm"], said["torchpair.min-driver"]) == ("cpu", "none", "none")
    assert all('"' not in v and "\n" not in v and "$" not in v for v in said.values())


def test_architectures_that_nobody_verified_are_not_claimed(spec: MakeSpec) -> None:
    one = replace(spec(EIGHT), sm=None)
    assert render.labels(one)["torchpair.sm"] == "unknown"
    assert render.expectation(one, None)["sm"] is None


# ---- files --------------------------------------------------------------------------------------------------------

HEAD = f"# {render.BANNER}\n"
NEW = {
    "a/Dockerfile": f"{HEAD}FROM x\n", "a/local.Dockerfile": f"{HEAD}FROM y\n", "b/Dockerfile": f"{HEAD}FROM z\n",
}  # fmt: skip


def tree(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file()}


def test_write_creates_changes_and_removes(tmp_path: Path) -> None:
    folder = tmp_path / "dockerfiles"
    assert len(render.drift(folder, NEW)) == 3 and not folder.exists()
    assert render.write(folder, NEW) == list(NEW)
    assert tree(folder) == NEW and render.drift(folder, NEW) == []
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*Dockerfile")}
    assert render.write(folder, NEW) == [] and before == {p: p.stat().st_mtime_ns for p in before}
    (folder / "a/notes.txt").write_text("mine")
    changed = {"b/Dockerfile": f"{HEAD}FROM w\n"}
    assert len(render.drift(folder, changed)) == 3
    assert sorted(render.write(folder, changed)) == sorted(NEW)
    assert tree(folder) == {**changed, "a/notes.txt": "mine"}, "only what was rendered is removed"
    assert render.write(folder, {}) == ["b/Dockerfile"] and not (folder / "b").exists()


def test_several_left_over_folders_go(tmp_path: Path) -> None:
    many = {f"row{i}/{kind}Dockerfile": HEAD for i in range(5) for kind in ("", "local.")}
    render.write(tmp_path, many)
    assert sorted(render.write(tmp_path, {})) == sorted(many)
    assert list(tmp_path.iterdir()) == []


def test_a_dockerfile_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "app/Dockerfile"
    own.parent.mkdir()
    own.write_text("FROM mine\n")
    assert render.drift(tmp_path, {}) == [] and render.write(tmp_path, {}) == []
    assert own.read_text() == "FROM mine\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"FROM old\n", "-FROM old\n+FROM x"),
        (b"FROM x\r\n", "only its line ends differ"),
        (b"FROM x", "only its line ends differ"),
        (b"FROM \xff\n", "+FROM x"),
        (b"", "+FROM x"),
    ],
)
def test_drift_sees_every_byte(tmp_path: Path, content: bytes, says: str) -> None:
    wanted = {"a/Dockerfile": "FROM x\n"}
    (tmp_path / "a").mkdir()
    (tmp_path / "a/Dockerfile").write_bytes(content)
    (diff,) = render.drift(tmp_path, wanted)
    assert says in diff and f"{tmp_path.name}/a/Dockerfile" in diff
    assert render.write(tmp_path, wanted) == ["a/Dockerfile"]
    assert render.drift(tmp_path, wanted) == []
