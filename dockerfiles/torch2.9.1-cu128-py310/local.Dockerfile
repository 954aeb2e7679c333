# Rendered by torchpair from matrix.yaml by `torchpair render`: do not edit, `torchpair render --check` compares.
# Row torch2.9.1-cu128-py310, base local.
ARG BASE=torchpair-base:ubuntu22.04
# What the wheels are unpacked with: one for every row, so that rows of any base share the stages that need no Python.
ARG TOOLS=torchpair-base:debian13

# ---- bundle: nothing; `--bundle` puts a folder in its place that holds all that is fetched ---------------------------
FROM scratch AS bundle

# ---- base: what the distribution gives ----------------------------------------------------------------------------
FROM ${BASE} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=torchpair-apt-ubuntu22.04,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-ubuntu22.04,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    : system; export SOURCE_DATE_EPOCH=1577836800; touch /var/tmp/before \
 && conf=/mnt/apt/ubuntu22.04.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
 && clean=/etc/apt/apt.conf.d/docker-clean; [ ! -e "$clean" ] || mv "$clean" /var/tmp/ \
 && apt-get update \
 && { [ -n "${APT_CONFIG:-}" ] || { ahead=/var/cache/apt/archives/partial && mkdir -p "$ahead" \
      && apt-get install --no-install-recommends --print-uris -qq -o Acquire::ForceHash=SHA256 ca-certificates ffmpeg libgomp1 libpython3.10 python3 tini \
         | sed -E "s/^'(\S+)' (\S+) [0-9]+ (\S+)$/\1 \2 \3/" \
         | xargs -r -n 60 -P 8 env -C "$ahead" /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root download-file \
      && mv "$ahead"/*.deb /var/cache/apt/archives/; } || true; } \
 && apt-get install -y --no-install-recommends \
      # downloads over TLS
      ca-certificates \
      # torchcodec opens files through FFmpeg
      ffmpeg \
      # OpenMP for packages that do not bring their own
      libgomp1 \
      # torchcodec 0.9.1 links Python's shared library
      libpython3.10 \
      # Python 3.10, the distribution's own
      python3 \
      # process 1: forwards signals, reaps children
      tini \
 && groupadd --gid 10001 torchpair \
 && useradd --uid 10001 --gid 10001 --no-log-init --create-home torchpair \
 # Debian 13 closes a new home, and an arbitrary uid starts there.
 && chmod 755 /home/torchpair \
 && { [ ! -e /var/tmp/docker-clean ] || mv /var/tmp/docker-clean "$clean"; } \
 && rm -rf /var/log/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \
 && find /etc -maxdepth 1 -name '*-' -delete \
 && find / -xdev -newer /var/tmp/before ! -path "/proc/*" ! -path "/sys/*" ! -path "/dev/*" ! -path "/mnt*" \
      -exec touch --no-dereference --date=@1577836800 {} + \
 && rm /var/tmp/before \
 && touch --date=@1577836800 /var/tmp

# ---- helpers: uv and scripts, bound into the stages that use them -----------------------------------------------------
# Bound, not copied, and so are the lines of the locks: BuildKit reads every file below a RUN to know its content, and
# stages that begin alike are read once.
FROM scratch AS helpers
# locks/tools.txt names it; torchpair puts it into the build context.
COPY --chmod=755 uv /uv
# Makes what a stage made the same whenever it is made: no bytecode, no lock files of uv, one time for every file.
COPY --chmod=755 <<'SETTLE' /settle
#!/bin/bash
set -euo pipefail
find /layer -name __pycache__ -type d -prune -exec rm -rf {} +
find /layer -maxdepth 5 -name .lock -type f -delete  # uv's own; setuptools has a file of that name
rm -rf "$UV_CACHE_DIR"
find /layer -exec touch --no-dereference --date=@1577836800 {} +
SETTLE

# The bytecode of what `import torch` loads: nobody may write beside its source, so without it every start of Python
# compiles a thousand modules once more. What the import itself has compiled, bound to the source's content and not to its
# time (PEP 552). A process of its own writes it down anew: which objects are marked as shared depends on what else the
# process holds (https://bugs.python.org/issue34093).
COPY --chmod=755 <<'BYTECODE' /bytecode
import importlib.util, marshal, os, subprocess, sys
files = sys.argv[1:]
if not files:
    for name in ("numpy", "torch"):
        try:
            __import__(name)
        except (ImportError, OSError, RuntimeError) as error:  # a forced row: the check says so
            print(f"{name} cannot be imported, so its bytecode is left out: {error}")
    paths = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    files = sorted(path for path in paths if path.startswith("/opt/") and path.endswith(".py"))
    os.makedirs("/layer/bytecode/opt/venv")
    sys.exit(subprocess.call([sys.executable, "-B", "-I", __file__, *files]) if files else 0)
for file in files:
    made = importlib.util.cache_from_source(file)
    if not os.path.exists(made):
        continue
    target = "/layer/bytecode" + made
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(file, "rb") as source, open(made, "rb") as compiled, open(target, "wb") as out:
        code = marshal.loads(compiled.read()[16:])
        head = importlib.util.MAGIC_NUMBER + (3).to_bytes(4, "little") + importlib.util.source_hash(source.read())
        out.write(head + marshal.dumps(code))
BYTECODE

# `lay LAYER...`: the files of layers where the image has them, each as a link. A link stays the link that it is.
COPY --chmod=755 <<'LAY' /lay
#!/bin/bash
set -euo pipefail
for layer in "$@"; do
  cp -as --remove-destination "$layer/." /
  cd "$layer"
  find . -type l -exec cp -a --parents --remove-destination -t / {} +
done
LAY

# `share LAYER PATH...`: what a wheel has alike for every Python moves where no path names one, into a layer of its own,
# with a link in its place. A link for every file: uv cannot uninstall what lies in a folder that is a link (uv 0.13.9).
COPY --chmod=755 <<'SHARE' /share
#!/bin/bash
set -euo pipefail
cd /layer/*/opt/venv/lib/python*/site-packages
shared=/layer/$1/opt/venv/lib/shared
mkdir -p "$shared"
for path in "${@:2}"; do
  [ -e "$path" ] || continue  # triton before 3.0 has other folders
  find "$path" -type f -print0 | while IFS= read -r -d '' file; do
    mkdir -p "$shared/${file%/*}"
    mv "$file" "$shared/$file"
    ln -s "$(realpath --relative-to="/opt/venv/lib/python/site-packages/${file%/*}" -m "/opt/venv/lib/shared/$file")" "$file"
  done
done
SHARE

# ---- tools: what builds an image and does not stay in it ----------------------------------------------------------
FROM ${TOOLS} AS tools
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=torchpair-apt-debian13-tools,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-debian13-tools,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    conf=/mnt/apt/debian13.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
 && rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
      python3-minimal
ARG PYPI_INDEX=
# SSL_CERT_FILE: uv brings certificates of its own, which know nothing of a proxy's. UV_CACHE_DIR: in the stage, not in
# a cache mount: there every wheel would be unpacked once and copied once more, and stay on the disk a second time.
ENV PATH=/opt/helpers:$PATH \
    NETRC=/run/secrets/netrc \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_CACHE_DIR=/var/tmp/uv \
    UV_HTTP_RETRIES=5 \
    UV_HTTP_TIMEOUT=300 \
    UV_LINK_MODE=hardlink \
    UV_NO_CONFIG=1 \
    UV_NO_PROGRESS=1

# ---- interpreter: the row's Python, to unpack its wheels while the base is being made; the very step of tools --------
FROM ${BASE} AS interpreter
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=torchpair-apt-ubuntu22.04-tools,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-ubuntu22.04-tools,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    conf=/mnt/apt/ubuntu22.04.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
 && rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
      python3

# ---- venv: Python 3.10 and an empty environment --------------------------------------------------------------------
FROM interpreter AS venv
ENV PATH=/opt/helpers:$PATH \
    NETRC=/run/secrets/netrc \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_CACHE_DIR=/var/tmp/uv \
    UV_HTTP_RETRIES=5 \
    UV_HTTP_TIMEOUT=300 \
    UV_LINK_MODE=hardlink \
    UV_NO_CONFIG=1 \
    UV_NO_PROGRESS=1
RUN --mount=from=helpers,target=/opt/helpers \
    uv venv --no-cache --python /usr/bin/python3.10 /opt/venv \
 && mkdir -p /layer/venv/opt \
 && cp -a /opt/venv /layer/venv/opt/ \
 && settle
ARG PYPI_INDEX=

# ---- cuda: NVIDIA's libraries: those of the CUDA toolkit, and as cudnn those with releases of their own -------------
# They are the same for every Python, so they lie where no path names one: /opt/venv/cuda, with a link in
# site-packages. Their metadata goes into site-packages: to pip and uv it is one ordinary environment. A library that
# lies beside the folder nvidia (cusparselt of torch 2.6) gets a link of its own.
FROM scratch AS cuda-lock
COPY <<'LOCK' /cuda.txt
nvidia-cublas-cu12==12.8.4.1 --hash=sha256:8ac4e771d5a348c551b2a426eda6193c19aa630236b418086020df5ba9667142  # nvidia_cublas_cu12-12.8.4.1-py3-none-manylinux_2_27_x86_64.whl
nvidia-cuda-cupti-cu12==12.8.90 --hash=sha256:ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182  # nvidia_cuda_cupti_cu12-12.8.90-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cuda-nvrtc-cu12==12.8.93 --hash=sha256:a7756528852ef889772a84c6cd89d41dfa74667e24cca16bb31f8f061e3e9994  # nvidia_cuda_nvrtc_cu12-12.8.93-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
nvidia-cuda-runtime-cu12==12.8.90 --hash=sha256:adade8dcbd0edf427b7204d480d6066d33902cab2a4707dcfc48a2d0fd44ab90  # nvidia_cuda_runtime_cu12-12.8.90-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cufft-cu12==11.3.3.83 --hash=sha256:4d2dd21ec0b88cf61b62e6b43564355e5222e4a3fb394cac0db101f2dd0d4f74  # nvidia_cufft_cu12-11.3.3.83-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cufile-cu12==1.13.1.3 --hash=sha256:1d069003be650e131b21c932ec3d8969c1715379251f8d23a1860554b1cb24fc  # nvidia_cufile_cu12-1.13.1.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-curand-cu12==10.3.9.90 --hash=sha256:b32331d4f4df5d6eefa0554c565b626c7216f87a06a4f56fab27c3b68a830ec9  # nvidia_curand_cu12-10.3.9.90-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusolver-cu12==11.7.3.90 --hash=sha256:4376c11ad263152bd50ea295c05370360776f8c3427b30991df774f9fb26c450  # nvidia_cusolver_cu12-11.7.3.90-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusparse-cu12==12.5.8.93 --hash=sha256:1ec05d76bbbd8b61b06a80e1eaf8cf4959c3d4ce8e711b65ebd0443bb0ebb13b  # nvidia_cusparse_cu12-12.5.8.93-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-nvjitlink-cu12==12.8.93 --hash=sha256:81ff63371a7ebd6e6451970684f916be2eab07321b73c9d244dc2b4da7f73b88  # nvidia_nvjitlink_cu12-12.8.93-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
nvidia-nvtx-cu12==12.8.90 --hash=sha256:5b17e2001cc0d751a5bc2c6ec6d26ad95913324a4adb86788c944f8ce9ba441f  # nvidia_nvtx_cu12-12.8.90-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
LOCK

COPY <<'LOCK' /cudnn.txt
nvidia-cudnn-cu12==9.10.2.21 --hash=sha256:949452be657fa16687d0930933f032835951ef0892b37d2d53824d1a84dc97a8  # nvidia_cudnn_cu12-9.10.2.21-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusparselt-cu12==0.7.1 --hash=sha256:f1bb701d6b930d5a7cea44c19ceb973311500847f81b634d802b7b539dc55623  # nvidia_cusparselt_cu12-0.7.1-py3-none-manylinux2014_x86_64.whl
nvidia-nccl-cu12==2.27.5 --hash=sha256:ad730cf15cb5d25fe849c6e6ca9eb5b76db16a80f13f425ac68d8e2e55624457  # nvidia_nccl_cu12-2.27.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-nvshmem-cu12==3.3.20 --hash=sha256:d00f26d3f9b2e3c3065be895e3059d6479ea5c638a3f38c9fec49b1b9dd7c1e5  # nvidia_nvshmem_cu12-3.3.20-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
LOCK

FROM tools AS cuda
RUN --mount=from=helpers,target=/opt/helpers \
    --mount=from=cuda-lock,target=/locks \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc \
    --mount=from=bundle,target=/mnt \
    mkdir /metadata \
 && for layer in cuda cudnn; do \
      uv pip install ${PYPI_INDEX:+--default-index "$PYPI_INDEX"} \
        --python /usr/bin/python3 --target "/layer/$layer/opt/venv/cuda" --no-deps --require-hashes --only-binary :all: -r "/locks/$layer.txt" \
      && mv "/layer/$layer"/opt/venv/cuda/*.dist-info /metadata/; \
    done \
 && settle

FROM venv AS metadata
# Most wheels have all below nvidia; cuSPARSELt's first ones have a folder of their own. `.keep`: uv removes the folder of
# the last package that goes when nothing else is in it, and cannot remove a link.
RUN --mount=from=helpers,target=/opt/helpers \
    --mount=from=cuda,source=/metadata,target=/mnt/metadata \
    --mount=from=cuda,source=/layer,target=/mnt/layer \
    rm -rf /layer \
 && mkdir -p /layer/metadata/opt/venv/lib/python3.10/site-packages \
 && cp -a /mnt/metadata/. /layer/metadata/opt/venv/lib/python3.10/site-packages/ \
 && for folder in /mnt/layer/*/opt/venv/cuda/*/; do \
      name=$(basename "$folder"); [ "$name" != bin ] || continue; \
      ln -sfn "../../../cuda/$name" "/layer/metadata/opt/venv/lib/python3.10/site-packages/$name" \
      && mkdir -p "/layer/metadata/opt/venv/cuda/$name" \
      && touch "/layer/metadata/opt/venv/cuda/$name/.keep"; \
    done \
 && settle

# ---- python: small packages ---------------------------------------------------------------------------------------
FROM scratch AS python-lock
COPY <<'LOCK' /python.txt
filelock==4.1.0 --hash=sha256:2ce9818e3e2d8f284c1a964414447ef148d42a5fd5e2a477a7118e574b293ec1  # filelock-4.1.0-py3-none-any.whl
fsspec==2026.9.0 --hash=sha256:8dd6e646e99ea382bd85f97a45e6b526a442d79423a7dc673f1e2756d05fcb5f  # fsspec-2026.9.0-py3-none-any.whl
jinja2==3.1.6 --hash=sha256:85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67  # jinja2-3.1.6-py3-none-any.whl
markupsafe==3.0.4 --hash=sha256:d1aca03ede943eb80ab3d63bb082c84b7aab85ea83bd0fd0c200260945fb49d9  # markupsafe-3.0.4-cp310-cp310-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl
mpmath==1.3.0 --hash=sha256:a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c  # mpmath-1.3.0-py3-none-any.whl
networkx==3.4.2 --hash=sha256:df5d4365b724cf81b8c6a7312509d0c22386097011ad1abe274afd5e9d3bbc5f  # networkx-3.4.2-py3-none-any.whl
numpy==2.2.6 --hash=sha256:fc7b73d02efb0e18c000e9ad8b83480dfcd5dfd11065997ed4c6747470ae8915  # numpy-2.2.6-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13  # pip-26.3-py3-none-any.whl
sympy==1.14.0 --hash=sha256:e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5  # sympy-1.14.0-py3-none-any.whl
typing-extensions==4.16.0 --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8  # typing_extensions-4.16.0-py3-none-any.whl
LOCK

FROM venv AS python
RUN --mount=from=helpers,target=/opt/helpers \
    --mount=from=python-lock,target=/locks \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc \
    --mount=from=bundle,target=/mnt \
    rm -rf /layer \
 && uv pip install ${PYPI_INDEX:+--default-index "$PYPI_INDEX"} \
      --python /opt/venv/bin/python --prefix /layer/python/opt/venv --no-deps --require-hashes --only-binary :all: -r /locks/python.txt \
 && settle

# ---- triton: torch's compiler for GPU kernels ---------------------------------------------------------------------
FROM scratch AS triton-lock
COPY <<'LOCK' /triton.txt
triton==3.5.1 --hash=sha256:5fc53d849f879911ea13f4a877243afc513187bc7ee92d1f2c0f1ba3169e3c94  # triton-3.5.1-cp310-cp310-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
LOCK

FROM venv AS triton
RUN --mount=from=helpers,target=/opt/helpers \
    --mount=from=triton-lock,target=/locks \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc \
    --mount=from=bundle,target=/mnt \
    rm -rf /layer \
 && uv pip install ${PYPI_INDEX:+--default-index "$PYPI_INDEX"} \
      --python /opt/venv/bin/python --prefix /layer/triton/opt/venv --no-deps --require-hashes --only-binary :all: -r /locks/triton.txt \
 && share triton-nvidia triton/backends/nvidia/bin triton/backends/nvidia/lib \
 && settle

# ---- torch: torch itself ------------------------------------------------------------------------------------------
FROM scratch AS torch-lock
COPY <<'LOCK' /torch.txt
torch==2.9.1 --hash=sha256:9fd35c68b3679378c11f5eb73220fdcb4e6f4592295277fbb657d31fd053237c  # torch-2.9.1-cp310-cp310-manylinux_2_28_x86_64.whl
LOCK

FROM venv AS torch
RUN --mount=from=helpers,target=/opt/helpers \
    --mount=from=torch-lock,target=/locks \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc \
    --mount=from=bundle,target=/mnt \
    rm -rf /layer \
 && uv pip install ${PYPI_INDEX:+--default-index "$PYPI_INDEX"} \
      --python /opt/venv/bin/python --prefix /layer/torch/opt/venv --no-deps --require-hashes --only-binary :all: -r /locks/torch.txt \
 && share torch-linalg torch/lib/libtorch_cuda_linalg.so \
 && share torch-cuda torch/lib/libtorch_cuda.so \
 && settle

# ---- audio: torchaudio and what reads files for it ----------------------------------------------------------------
FROM scratch AS audio-lock
COPY <<'LOCK' /audio.txt
torchaudio==2.9.1 --hash=sha256:ee11695b367f64638b4a0340cc9abb9be2173c6537bfe4ab286c6fbff68a1444  # torchaudio-2.9.1-cp310-cp310-manylinux_2_28_x86_64.whl
torchcodec==0.9.1 --hash=sha256:53dfecabc843e4d78b77453732129bd8572dd9d022ab81a94f5305cd5e920ded  # torchcodec-0.9.1-cp310-cp310-manylinux_2_28_x86_64.whl
LOCK

FROM venv AS audio
RUN --mount=from=helpers,target=/opt/helpers \
    --mount=from=audio-lock,target=/locks \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc \
    --mount=from=bundle,target=/mnt \
    rm -rf /layer \
 && uv pip install ${PYPI_INDEX:+--default-index "$PYPI_INDEX"} \
      --python /opt/venv/bin/python --prefix /layer/audio/opt/venv --no-deps --require-hashes --only-binary :all: -r /locks/audio.txt \
 && settle

# ---- probe: the health check, and what it is to find --------------------------------------------------------------
FROM scratch AS probe-files
COPY --chmod=644 probe.pyz /
COPY <<'SPEC' /expect.json
{"lock": {"filelock": "4.1.0", "fsspec": "2026.9.0", "jinja2": "3.1.6", "markupsafe": "3.0.4", "mpmath": "1.3.0", "networkx": "3.4.2", "numpy": "2.2.6", "nvidia-cublas-cu12": "12.8.4.1", "nvidia-cuda-cupti-cu12": "12.8.90", "nvidia-cuda-nvrtc-cu12": "12.8.93", "nvidia-cuda-runtime-cu12": "12.8.90", "nvidia-cudnn-cu12": "9.10.2.21", "nvidia-cufft-cu12": "11.3.3.83", "nvidia-cufile-cu12": "1.13.1.3", "nvidia-curand-cu12": "10.3.9.90", "nvidia-cusolver-cu12": "11.7.3.90", "nvidia-cusparse-cu12": "12.5.8.93", "nvidia-cusparselt-cu12": "0.7.1", "nvidia-nccl-cu12": "2.27.5", "nvidia-nvjitlink-cu12": "12.8.93", "nvidia-nvshmem-cu12": "3.3.20", "nvidia-nvtx-cu12": "12.8.90", "pip": "26.3", "sympy": "1.14.0", "torch": "2.9.1", "torchaudio": "2.9.1", "torchcodec": "0.9.1", "triton": "3.5.1", "typing-extensions": "4.16.0"}, "sm": ["7.0", "7.5", "8.0", "8.6", "9.0", "10.0", "12.0"], "versions": {"cuda": "12.8", "python": "3.10", "torch": "2.9.1", "torchaudio": "2.9.1", "torchcodec": "0.9.1"}}
SPEC

FROM tools AS probe
RUN --mount=from=helpers,target=/opt/helpers \
    --mount=from=probe-files,target=/mnt \
    mkdir -p /layer/probe/opt/torchpair \
 && cp -p /mnt/* /layer/probe/opt/torchpair/ \
 && settle

# ---- kept: all that torchaudio is put upon --------------------------------------------------------------------------
FROM base AS kept
ENV PATH=/opt/venv/bin:$PATH \
    VIRTUAL_ENV=/opt/venv \
    LANG=C.UTF-8 \
    # torch asks for the user's name to place its caches; an arbitrary uid has no name of its own.
    USER=torchpair \
    HOME=/home/torchpair \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --link --from=cuda /layer/cuda /
COPY --link --from=cuda /layer/cudnn /
COPY --link --from=metadata /layer/metadata /
COPY --link --from=venv /layer/venv /
COPY --link --from=python /layer/python /
COPY --link --from=triton /layer/triton-nvidia /
COPY --link --from=triton /layer/triton /
COPY --link --from=torch /layer/torch-linalg /
COPY --link --from=torch /layer/torch-cuda /
COPY --link --from=torch /layer/torch /

# ---- bytecode: of what `import torch` loads -------------------------------------------------------------------------
FROM base AS bytecode
RUN --mount=from=helpers,target=/var/tmp/helpers \
    --mount=from=cuda,source=/layer,target=/mnt/cuda \
    --mount=from=metadata,source=/layer,target=/mnt/metadata \
    --mount=from=venv,source=/layer,target=/mnt/venv \
    --mount=from=python,source=/layer,target=/mnt/python \
    --mount=from=triton,source=/layer,target=/mnt/triton \
    --mount=from=torch,source=/layer,target=/mnt/torch \
    /var/tmp/helpers/lay /mnt/*/* \
 && /opt/venv/bin/python /var/tmp/helpers/bytecode \
 && find /layer -exec touch --no-dereference --date=@1577836800 {} +

# ---- the image ------------------------------------------------------------------------------------------------------
FROM kept AS image
COPY --link --from=bytecode /layer/bytecode /
COPY --link --from=audio /layer/audio /
COPY --link --from=probe /layer/probe /

LABEL org.opencontainers.image.title="torchpair" \
      org.opencontainers.image.description="torch 2.9.1 and torchaudio 2.9.1, torchcodec 0.9.1, CUDA 12.8, Python 3.10" \
      org.opencontainers.image.version="2.9.1-cu128-py310-local-ubuntu22.04" \
      org.opencontainers.image.base.name="torchpair-base:ubuntu22.04" \
      torchpair.row="torch2.9.1-cu128-py310" \
      torchpair.torch="2.9.1" \
      torchpair.torchaudio="2.9.1" \
      torchpair.torchcodec="0.9.1" \
      torchpair.cuda="12.8" \
      torchpair.python="3.10" \
      torchpair.base="local:ubuntu22.04" \
      torchpair.sm="7.0 7.5 8.0 8.6 9.0 10.0 12.0" \
      torchpair.min-driver="525.60.13"
USER 10001:10001
WORKDIR /home/torchpair
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python"]
