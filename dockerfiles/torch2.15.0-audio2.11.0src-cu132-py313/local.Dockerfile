# Rendered by torchpair from matrix.yaml by `torchpair render`: do not edit, `torchpair render --check` compares.
# Row torch2.15.0-audio2.11.0src-cu132-py313, base local.
ARG BASE=torchpair-base:debian13
# What the wheels are unpacked with: one for every row, so that rows of any base share the stages that need no Python.
ARG TOOLS=torchpair-base:debian13

# ---- bundle: nothing; `--bundle` puts a folder in its place that holds all that is fetched ---------------------------
FROM scratch AS bundle

# ---- base: what the distribution gives ----------------------------------------------------------------------------
FROM ${BASE} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=torchpair-apt-debian13,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-debian13,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    : system; export SOURCE_DATE_EPOCH=1577836800; touch /var/tmp/before \
 && conf=/mnt/apt/debian13.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
 && clean=/etc/apt/apt.conf.d/docker-clean; [ ! -e "$clean" ] || mv "$clean" /var/tmp/ \
 && apt-get update \
 && { [ -n "${APT_CONFIG:-}" ] || { ahead=/var/cache/apt/archives/partial && mkdir -p "$ahead" \
      && apt-get install --no-install-recommends --print-uris -qq -o Acquire::ForceHash=SHA256 ca-certificates ffmpeg libgomp1 libquadmath0 python3 tini \
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
      # a library in torch 2.15.0's wheel asks for it
      libquadmath0 \
      # Python 3.13, the distribution's own
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
RUN --mount=type=cache,id=torchpair-apt-debian13-tools,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-debian13-tools,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    conf=/mnt/apt/debian13.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
 && rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
      python3-minimal

# ---- venv: Python 3.13 and an empty environment --------------------------------------------------------------------
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
    uv venv --no-cache --python /usr/bin/python3.13 /opt/venv \
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
cuda-toolkit==13.2.2 --hash=sha256:d12edc1aad1356236a2ee10c0d794b1aff5d3e79bfeca54867c3bb8e5afd87b0  # cuda_toolkit-13.2.2-py2.py3-none-any.whl
nvidia-cublas==13.4.1.3 --hash=sha256:a5917cb642cfb07f4a0231ee16aec7e2e0357d8cb8b1b78a0c9c68dba3e6afc7  # nvidia_cublas-13.4.1.3-py3-none-manylinux_2_27_x86_64.whl
nvidia-cuda-cccl==13.3.5.0.6 --hash=sha256:d5230098fa2df5021e1a00c0c4eee41797671a91119d31e892463e5ccf3ee326  # nvidia_cuda_cccl-13.3.5.0.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cuda-cupti==13.2.86 --hash=sha256:8fa29f15dd8336181f961764d9d95236fc6b931dd0c8fcf8cd70aab0c310b586  # nvidia_cuda_cupti-13.2.86-py3-none-manylinux_2_25_x86_64.whl
nvidia-cuda-nvrtc==13.2.86 --hash=sha256:8111c5130e967b78222ea2124145f8efe9ce201b752b2579a2513100a53be1c5  # nvidia_cuda_nvrtc-13.2.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
nvidia-cuda-runtime==13.2.86 --hash=sha256:3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0  # nvidia_cuda_runtime-13.2.86-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cufft==12.2.0.57 --hash=sha256:34da27fadf3979b0b042c43823f0530be8408b86df31ee0108e1ca0b621d4ef6  # nvidia_cufft-12.2.0.57-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cufile==1.17.1.22 --hash=sha256:87feaf8c3ad20d3d03a01933181801ff6892bace5c8f0b1e4b48f319d3e62d36  # nvidia_cufile-1.17.1.22-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusolver==12.2.0.11 --hash=sha256:fab5778f6769947389a1a6abc07e635576825a08c0ffc68c3ae7f1392c794b42  # nvidia_cusolver-12.2.0.11-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusparse==12.7.10.12 --hash=sha256:25907c75e4db1581685f06f61cc6cdecc04611765516a52373e0a18ebd69fa00  # nvidia_cusparse-12.7.10.12-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-nvjitlink==13.5.37 --hash=sha256:280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb  # nvidia_nvjitlink-13.5.37-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
nvidia-nvtx==13.2.86 --hash=sha256:968ce72baee2a01791c7d3254000eac81f24677b0b91c62d21b449a1f309c245  # nvidia_nvtx-13.2.86-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl
LOCK

COPY <<'LOCK' /cudnn.txt
nvidia-cudnn-cu13==9.26.0.51 --hash=sha256:9c976d539786698c71d6bcdbe2053b7485fae062ff7e1215d2f2ff67b1a2149a  # nvidia_cudnn_cu13-9.26.0.51-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusparselt-cu13==0.8.1 --hash=sha256:786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0  # nvidia_cusparselt_cu13-0.8.1-py3-none-manylinux2014_x86_64.whl
nvidia-nccl-cu13==2.30.7 --hash=sha256:cefa7fdb9710efd0f39c5f1be1d61ff6fc9a996c451265bd7fbdcf9455ed4b50  # nvidia_nccl_cu13-2.30.7-py3-none-manylinux_2_18_x86_64.whl
nvidia-nvshmem-cu13==3.7.2 --hash=sha256:b9a4f843c62b5dded8ad33fd6d220e007dcd39f06cee549292f5ba14ce4c235c  # nvidia_nvshmem_cu13-3.7.2-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
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
 && mkdir -p /layer/metadata/opt/venv/lib/python3.13/site-packages \
 && cp -a /mnt/metadata/. /layer/metadata/opt/venv/lib/python3.13/site-packages/ \
 && for folder in /mnt/layer/*/opt/venv/cuda/*/; do \
      name=$(basename "$folder"); [ "$name" != bin ] || continue; \
      ln -sfn "../../../cuda/$name" "/layer/metadata/opt/venv/lib/python3.13/site-packages/$name" \
      && mkdir -p "/layer/metadata/opt/venv/cuda/$name" \
      && touch "/layer/metadata/opt/venv/cuda/$name/.keep"; \
    done \
 && settle

# ---- python: small packages ---------------------------------------------------------------------------------------
FROM scratch AS python-lock
COPY <<'LOCK' /python.txt
cuda-bindings==13.5.0 --hash=sha256:d47b6f6d0398f97c82e2525eefb02e7252848e48c902824f6a6b6467a5902894  # cuda_bindings-13.5.0-cp313-cp313-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl
cuda-pathfinder==1.9.0 --hash=sha256:622df7440f7702f36b7a02a1699aa0b084fe04034d9939188fee9b16d0c36366  # cuda_pathfinder-1.9.0-py3-none-any.whl
filelock==4.2.11 --hash=sha256:020e229e4bb9d410fc799c07ddf45fa217cba970278f40b30751d94f309b69e2  # filelock-4.2.11-py3-none-any.whl
fsspec==2026.9.0 --hash=sha256:8dd6e646e99ea382bd85f97a45e6b526a442d79423a7dc673f1e2756d05fcb5f  # fsspec-2026.9.0-py3-none-any.whl
jinja2==3.1.6 --hash=sha256:85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67  # jinja2-3.1.6-py3-none-any.whl
markupsafe==3.0.4 --hash=sha256:434139499bb20b502ed3baa1f169e618f924a97e7a777fea1a49446d80106cf6  # markupsafe-3.0.4-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl
mpmath==1.3.0 --hash=sha256:a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c  # mpmath-1.3.0-py3-none-any.whl
networkx==3.7 --hash=sha256:e3fd2c13a7814cee3746340d8d7f8598a67f16a58bf47fb7f8793fab6efca1b0  # networkx-3.7-py3-none-any.whl
numpy==2.5.5 --hash=sha256:824025655df929268bfe6b47ed91a00d14209a6f760847cf150be446829e1ce4  # numpy-2.5.5-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13  # pip-26.3-py3-none-any.whl
setuptools==84.2.1 --hash=sha256:ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2  # setuptools-84.2.1-py3-none-any.whl
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
triton==3.9.0 --hash=sha256:5e52ab4e2f1d64f0ac494c9aa723697b793f81a91c4cae4c36608ca0bc4267bf  # triton-3.9.0-cp312-abi3-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
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
torch==2.15.0 --hash=sha256:241fea2bac4ed8351307cd13eca5020fbe231f990891be299cf683897caebfbc  # torch-2.15.0-cp313-cp313-manylinux_2_28_x86_64.whl
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

# ---- probe: the health check, and what it is to find --------------------------------------------------------------
FROM scratch AS probe-files
COPY --chmod=644 probe.pyz /
COPY <<'SPEC' /expect.json
{"compiled": {"sm": ["8.0", "9.0"], "torchaudio": "2.11.0+cu132"}, "lock": {"cuda-bindings": "13.5.0", "cuda-pathfinder": "1.9.0", "cuda-toolkit": "13.2.2", "filelock": "4.2.11", "fsspec": "2026.9.0", "jinja2": "3.1.6", "markupsafe": "3.0.4", "mpmath": "1.3.0", "networkx": "3.7", "numpy": "2.5.5", "nvidia-cublas": "13.4.1.3", "nvidia-cuda-cccl": "13.3.5.0.6", "nvidia-cuda-cupti": "13.2.86", "nvidia-cuda-nvrtc": "13.2.86", "nvidia-cuda-runtime": "13.2.86", "nvidia-cudnn-cu13": "9.26.0.51", "nvidia-cufft": "12.2.0.57", "nvidia-cufile": "1.17.1.22", "nvidia-cusolver": "12.2.0.11", "nvidia-cusparse": "12.7.10.12", "nvidia-cusparselt-cu13": "0.8.1", "nvidia-nccl-cu13": "2.30.7", "nvidia-nvjitlink": "13.5.37", "nvidia-nvshmem-cu13": "3.7.2", "nvidia-nvtx": "13.2.86", "pip": "26.3", "setuptools": "84.2.1", "sympy": "1.14.0", "torch": "2.15.0", "torchcodec": "0.17.0", "triton": "3.9.0", "typing-extensions": "4.16.0"}, "sm": ["8.0", "9.0"], "versions": {"cuda": "13.2", "python": "3.13", "torch": "2.15.0", "torchaudio": "2.11.0", "torchcodec": "0.17.0"}}
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

# ---- toolkit: nvcc of CUDA 13.2, out of NVIDIA's wheels ------------------------------------------------------------
# In a folder of its own: in torch's environment it would change what is there.
FROM tools AS toolkit
COPY <<'LOCK' /locks/toolkit.txt
cuda-toolkit==13.2.2 --hash=sha256:d12edc1aad1356236a2ee10c0d794b1aff5d3e79bfeca54867c3bb8e5afd87b0  # cuda_toolkit-13.2.2-py2.py3-none-any.whl
nvidia-cuda-cccl==13.2.86 --hash=sha256:35da671cf0cecd3539da214a11bb8e7634366c9e950da9c5feecf6c490a65b20  # nvidia_cuda_cccl-13.2.86-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cuda-crt==13.2.86 --hash=sha256:e3ab08801bf9b1e6dc979275d25e816bb5000521b648e19c324d5eef0c79f1da  # nvidia_cuda_crt-13.2.86-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cuda-nvcc==13.2.86 --hash=sha256:7d3f56c8d705bad35bbba69eb0470d90856fd5d4dc48c6a6173aaf1e9f887cf5  # nvidia_cuda_nvcc-13.2.86-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cuda-runtime==13.2.86 --hash=sha256:3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0  # nvidia_cuda_runtime-13.2.86-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-nvvm==13.2.86 --hash=sha256:a9244f3209922d655612c11ebb4117ea1f80983cb2b215c9cccded127282cebc  # nvidia_nvvm-13.2.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
LOCK

ARG PYPI_INDEX=
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc \
    --mount=from=bundle,target=/mnt \
    --mount=from=helpers,target=/opt/helpers \
    uv pip install ${PYPI_INDEX:+--default-index "$PYPI_INDEX"} --python /usr/bin/python3 \
      --target /opt/toolkit --no-deps --require-hashes -r /locks/toolkit.txt \
 && ln -s libcudart.so.13 /opt/toolkit/nvidia/cu13/lib/libcudart.so


# ---- audio-source: torchaudio's own repository; `--source` puts another source in its place ------------------------------
FROM scratch AS audio-source
ADD --keep-git-dir=true https://github.com/pytorch/audio.git#v2.11.0 /

# ---- compiler: what compiles, over the torch that is compiled against -----------------------------------------------------
FROM kept AS compiler
ARG DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=torchpair-apt-debian13,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-debian13,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    conf=/mnt/apt/debian13.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
 && command -v apt-get > /dev/null || { echo "error: there is no apt-get in the base, so no compiler can be installed"; exit 1; } \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
      ccache g++-14 git python3-dev
COPY <<'LOCK' /locks/build.txt
cmake==3.31.10 --hash=sha256:2f766bb46367e5e0559fa33184653754bce044583a06014dcaebf8e6dff8a1f1  # cmake-3.31.10-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
ninja==1.13.2 --hash=sha256:65a24341b5ac09fcadcc37082660be40a94174e51a937fabf6e2cae26225fa2c  # ninja-1.13.2-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
packaging==26.3 --hash=sha256:d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c  # packaging-26.3-py3-none-any.whl
wheel==0.45.1 --hash=sha256:708e7481cc80179af0e556bbf0cc00b8444c7321e2700b8d8580231d13017248  # wheel-0.45.1-py3-none-any.whl
LOCK

COPY <<'LOCK' /locks/setuptools.txt
setuptools==69.5.1 --hash=sha256:c636ac361bc47580504644275c9ad802c50415c7522212252c033bd15f301f32  # setuptools-69.5.1-py3-none-any.whl
LOCK

ARG PYPI_INDEX=
# setuptools lies apart: only where torch brings none of its own is this one seen.
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc \
    --mount=from=bundle,target=/mnt \
    command -v python3 > /dev/null || { echo "error: no torch can be imported in the base: it has no python3"; exit 1; } \
 && for lock in build setuptools; do \
      NETRC=/run/secrets/netrc PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_CONSTRAINT='' python3 -m pip install --no-cache-dir \
        ${PYPI_INDEX:+--index-url "$PYPI_INDEX"} --target "/opt/$lock" --no-deps --require-hashes -r "/locks/$lock.txt"; \
    done
COPY compiler.pyz /opt/compiler.pyz

# ---- preflight-torchaudio, compile-torchaudio: torchaudio 2.11.0+cu132 --------------------------------------------
FROM compiler AS preflight-torchaudio
COPY <<'PLAN' /opt/torchaudio.json
{"base": false, "commit": "34c52a67", "cuda": "13.2", "cxx": "g++-14", "environment": {}, "gcc_max": 15, "label": "cu132", "package": "torchaudio", "python": "3.13", "ref": "v2.11.0", "row": "torch2.15.0-audio2.11.0src-cu132-py313", "sm": ["8.0", "9.0"], "system": "cpp_extension", "tools": "/opt/build", "torch": "2.15.0", "version": "2.11.0", "version_variable": "BUILD_VERSION"}
PLAN

ENV CUDA_HOME=/opt/toolkit
# Another value when `torchpair preflight` asks: who asks is told, and not that the cache has it.
ARG ASKED=
RUN --mount=type=bind,from=audio-source,target=/src,rw \
    --mount=type=bind,from=toolkit,source=/opt/toolkit/nvidia/cu13,target=/opt/toolkit \
    python3 -B /opt/compiler.pyz preflight /opt/torchaudio.json --source /src

FROM preflight-torchaudio AS compile-torchaudio
RUN --mount=type=bind,from=audio-source,target=/src,rw \
    --mount=type=bind,from=toolkit,source=/opt/toolkit/nvidia/cu13,target=/opt/toolkit \
    --mount=type=cache,id=torchpair-compile,target=/var/cache/torchpair \
    --mount=type=secret,id=wishes \
    python3 -B /opt/compiler.pyz compile /opt/torchaudio.json --source /src


# ---- preflight, wheel, log: for `torchpair preflight` and `wheel`, and the whole log of the last compile -----------
FROM preflight-torchaudio AS preflight

FROM scratch AS wheel
COPY --from=compile-torchaudio /out/wheel /

FROM base AS logging
# Another value each time: a cache mount does not count as a change.
ARG ASKED=
RUN --mount=type=cache,id=torchpair-compile,target=/var/cache/torchpair \
    echo "$ASKED" && mkdir -p /out && cp /var/cache/torchpair/log/torch2.15.0-audio2.11.0src-cu132-py313.*.log /out/

FROM scratch AS log
COPY --from=logging /out /


# ---- audio: the torchaudio that was compiled, and what reads files for it -----------------------------------------
FROM scratch AS audio-lock
COPY <<'LOCK' /audio.txt
torchcodec==0.17.0 --hash=sha256:9eb27bc90ad1d60fbded1415e8106961d5f9e4bc80b3010217cfe6a08ad967ce  # torchcodec-0.17.0-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
LOCK

FROM venv AS audio
RUN --mount=from=helpers,target=/opt/helpers \
    --mount=from=audio-lock,target=/locks \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc \
    --mount=from=bundle,target=/mnt \
    --mount=type=bind,from=compile-torchaudio,source=/out/wheel,target=/compiled \
    rm -rf /layer \
 && uv pip install --python /opt/venv/bin/python --prefix /layer/audio/opt/venv --no-deps --no-index --find-links /compiled torchaudio \
 && uv pip install ${PYPI_INDEX:+--default-index "$PYPI_INDEX"} \
      --python /opt/venv/bin/python --prefix /layer/audio/opt/venv --no-deps --require-hashes --only-binary :all: -r /locks/audio.txt \
 && settle

# ---- proof: in the whole environment, every file of torch is what it was ------------------------------------------
FROM kept AS proof
COPY --link --from=audio /layer/audio /
RUN --mount=type=bind,from=compile-torchaudio,source=/out,target=/compiled \
    --mount=type=bind,from=compiler,source=/opt/compiler.pyz,target=/opt/compiler.pyz \
    python3 -B /opt/compiler.pyz proof /compiled /layer/proof/opt/torchpair \
 && find /layer -exec touch --no-dereference --date=@1577836800 {} +

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

# ---- the image, with what was compiled ----------------------------------------------------------------------------
FROM kept AS image
COPY --link --from=bytecode /layer/bytecode /
COPY --link --from=audio /layer/audio /
COPY --link --from=proof /layer/proof /
COPY --link --from=probe /layer/probe /

LABEL org.opencontainers.image.title="torchpair" \
      org.opencontainers.image.description="torch 2.15.0 and torchaudio 2.11.0, torchcodec 0.17.0, CUDA 13.2, Python 3.13" \
      org.opencontainers.image.version="2.15.0-audio2.11.0src-cu132-py313-debian13" \
      org.opencontainers.image.base.name="torchpair-base:debian13" \
      torchpair.row="torch2.15.0-audio2.11.0src-cu132-py313" \
      torchpair.torch="2.15.0" \
      torchpair.torchaudio="2.11.0" \
      torchpair.torchcodec="0.17.0" \
      torchpair.cuda="13.2" \
      torchpair.python="3.13" \
      torchpair.base="local:debian13" \
      torchpair.sm="8.0 9.0" \
      torchpair.min-driver="580.65.06"
USER 10001:10001
WORKDIR /home/torchpair
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python"]
