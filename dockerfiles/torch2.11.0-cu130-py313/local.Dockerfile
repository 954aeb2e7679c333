# Rendered by torchpair from matrix.yaml by `torchpair render`: do not edit, `torchpair render --check` compares.
# Row torch2.11.0-cu130-py313, base local.
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
      && apt-get install --no-install-recommends --print-uris -qq -o Acquire::ForceHash=SHA256 ca-certificates ffmpeg libgomp1 python3 tini \
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
cuda-toolkit==13.0.2 --hash=sha256:b198824cf2f54003f50d64ada3a0f184b42ca0846c1c94192fa269ecd97a66eb  # cuda_toolkit-13.0.2-py2.py3-none-any.whl
nvidia-cublas==13.1.0.3 --hash=sha256:ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171  # nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8  # nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl
nvidia-cuda-nvrtc==13.0.88 --hash=sha256:ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575  # nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548  # nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cufft==12.0.0.61 --hash=sha256:6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3  # nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cufile==1.15.1.6 --hash=sha256:08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44  # nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-curand==10.4.0.35 --hash=sha256:1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc  # nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusolver==12.0.4.66 --hash=sha256:0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112  # nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusparse==12.6.3.3 --hash=sha256:2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b  # nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-nvjitlink==13.0.88 --hash=sha256:13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b  # nvidia_nvjitlink-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
nvidia-nvtx==13.0.85 --hash=sha256:4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4  # nvidia_nvtx-13.0.85-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl
LOCK

COPY <<'LOCK' /cudnn.txt
nvidia-cudnn-cu13==9.19.0.56 --hash=sha256:d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf  # nvidia_cudnn_cu13-9.19.0.56-py3-none-manylinux_2_27_x86_64.whl
nvidia-cusparselt-cu13==0.8.0 --hash=sha256:25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd  # nvidia_cusparselt_cu13-0.8.0-py3-none-manylinux2014_x86_64.whl
nvidia-nccl-cu13==2.28.9 --hash=sha256:e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42  # nvidia_nccl_cu13-2.28.9-py3-none-manylinux_2_18_x86_64.whl
nvidia-nvshmem-cu13==3.4.5 --hash=sha256:290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80  # nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
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
setuptools==81.0.0 --hash=sha256:fdd925d5c5d9f62e4b74b30d6dd7828ce236fd6ed998a08d81de62ce5a6310d6  # setuptools-81.0.0-py3-none-any.whl
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
triton==3.6.0 --hash=sha256:10c7f76c6e72d2ef08df639e3d0d30729112f47a56b0c81672edc05ee5116ac9  # triton-3.6.0-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
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
torch==2.11.0 --hash=sha256:cc89b9b173d9adfab59fd227f0ab5e5516d9a52b658ae41d64e59d2e55a418db  # torch-2.11.0-cp313-cp313-manylinux_2_28_x86_64.whl
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
torchaudio==2.11.0 --hash=sha256:1c1101c1243ef0e4063ec63298977e2d3655c15cf88d9eb0a1bd4fe2db9f47ea  # torchaudio-2.11.0-cp313-cp313-manylinux_2_28_x86_64.whl
torchcodec==0.17.0 --hash=sha256:9eb27bc90ad1d60fbded1415e8106961d5f9e4bc80b3010217cfe6a08ad967ce  # torchcodec-0.17.0-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
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
{"lock": {"cuda-bindings": "13.5.0", "cuda-pathfinder": "1.9.0", "cuda-toolkit": "13.0.2", "filelock": "4.2.11", "fsspec": "2026.9.0", "jinja2": "3.1.6", "markupsafe": "3.0.4", "mpmath": "1.3.0", "networkx": "3.7", "numpy": "2.5.5", "nvidia-cublas": "13.1.0.3", "nvidia-cuda-cupti": "13.0.85", "nvidia-cuda-nvrtc": "13.0.88", "nvidia-cuda-runtime": "13.0.96", "nvidia-cudnn-cu13": "9.19.0.56", "nvidia-cufft": "12.0.0.61", "nvidia-cufile": "1.15.1.6", "nvidia-curand": "10.4.0.35", "nvidia-cusolver": "12.0.4.66", "nvidia-cusparse": "12.6.3.3", "nvidia-cusparselt-cu13": "0.8.0", "nvidia-nccl-cu13": "2.28.9", "nvidia-nvjitlink": "13.0.88", "nvidia-nvshmem-cu13": "3.4.5", "nvidia-nvtx": "13.0.85", "pip": "26.3", "setuptools": "81.0.0", "sympy": "1.14.0", "torch": "2.11.0", "torchaudio": "2.11.0", "torchcodec": "0.17.0", "triton": "3.6.0", "typing-extensions": "4.16.0"}, "sm": ["7.5", "8.0", "8.6", "9.0", "10.0", "12.0"], "versions": {"cuda": "13.0", "python": "3.13", "torch": "2.11.0", "torchaudio": "2.11.0", "torchcodec": "0.17.0"}}
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
      org.opencontainers.image.description="torch 2.11.0 and torchaudio 2.11.0, torchcodec 0.17.0, CUDA 13.0, Python 3.13" \
      org.opencontainers.image.version="2.11.0-cu130-py313-debian13" \
      org.opencontainers.image.base.name="torchpair-base:debian13" \
      torchpair.row="torch2.11.0-cu130-py313" \
      torchpair.torch="2.11.0" \
      torchpair.torchaudio="2.11.0" \
      torchpair.torchcodec="0.17.0" \
      torchpair.cuda="13.0" \
      torchpair.python="3.13" \
      torchpair.base="local:debian13" \
      torchpair.sm="7.5 8.0 8.6 9.0 10.0 12.0" \
      torchpair.min-driver="580.65.06"
USER 10001:10001
WORKDIR /home/torchpair
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python"]
