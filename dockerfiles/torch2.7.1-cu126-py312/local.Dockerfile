# Rendered by torchpair from matrix.yaml by `torchpair render`: do not edit, `torchpair render --check` compares.
# Row torch2.7.1-cu126-py312, base local.
ARG BASE=torchpair-base:ubuntu24.04
# What the wheels are unpacked with: one for every row, so that rows of any base share the stages that need no Python.
ARG TOOLS=torchpair-base:debian13

# ---- bundle: nothing; `--bundle` puts a folder in its place that holds all that is fetched ---------------------------
FROM scratch AS bundle

# ---- base: what the distribution gives ----------------------------------------------------------------------------
FROM ${BASE} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=torchpair-apt-ubuntu24.04,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-ubuntu24.04,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    : system; export SOURCE_DATE_EPOCH=1577836800; touch /var/tmp/before \
 && conf=/mnt/apt/ubuntu24.04.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
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
      # torchaudio opens files through FFmpeg
      ffmpeg \
      # OpenMP for packages that do not bring their own
      libgomp1 \
      # Python 3.12, the distribution's own
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
RUN --mount=type=cache,id=torchpair-apt-ubuntu24.04-tools,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-ubuntu24.04-tools,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    conf=/mnt/apt/ubuntu24.04.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
 && rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
      python3

# ---- venv: Python 3.12 and an empty environment --------------------------------------------------------------------
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
    uv venv --no-cache --python /usr/bin/python3.12 /opt/venv \
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
nvidia-cublas-cu12==12.6.4.1 --hash=sha256:08ed2686e9875d01b58e3cb379c6896df8e76c75e0d4a7f7dace3d7b6d9ef8eb  # nvidia_cublas_cu12-12.6.4.1-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cuda-cupti-cu12==12.6.80 --hash=sha256:6768bad6cab4f19e8292125e5f1ac8aa7d1718704012a0e3272a6f61c4bce132  # nvidia_cuda_cupti_cu12-12.6.80-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cuda-nvrtc-cu12==12.6.77 --hash=sha256:35b0cc6ee3a9636d5409133e79273ce1f3fd087abb0532d2d2e8fff1fe9efc53  # nvidia_cuda_nvrtc_cu12-12.6.77-py3-none-manylinux2014_x86_64.whl
nvidia-cuda-runtime-cu12==12.6.77 --hash=sha256:ba3b56a4f896141e25e19ab287cd71e52a6a0f4b29d0d31609f60e3b4d5219b7  # nvidia_cuda_runtime_cu12-12.6.77-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cufft-cu12==11.3.0.4 --hash=sha256:ccba62eb9cef5559abd5e0d54ceed2d9934030f51163df018532142a8ec533e5  # nvidia_cufft_cu12-11.3.0.4-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cufile-cu12==1.11.1.6 --hash=sha256:cc23469d1c7e52ce6c1d55253273d32c565dd22068647f3aa59b3c6b005bf159  # nvidia_cufile_cu12-1.11.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-curand-cu12==10.3.7.77 --hash=sha256:a42cd1344297f70b9e39a1e4f467a4e1c10f1da54ff7a85c12197f6c652c8bdf  # nvidia_curand_cu12-10.3.7.77-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cusolver-cu12==11.7.1.2 --hash=sha256:e9e49843a7707e42022babb9bcfa33c29857a93b88020c4e4434656a655b698c  # nvidia_cusolver_cu12-11.7.1.2-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-cusparse-cu12==12.5.4.2 --hash=sha256:7556d9eca156e18184b94947ade0fba5bb47d69cec46bf8660fd2c71a4b48b73  # nvidia_cusparse_cu12-12.5.4.2-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
nvidia-nvjitlink-cu12==12.6.85 --hash=sha256:eedc36df9e88b682efe4309aa16b5b4e78c2407eac59e8c10a6a47535164369a  # nvidia_nvjitlink_cu12-12.6.85-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
nvidia-nvtx-cu12==12.6.77 --hash=sha256:b90bed3df379fa79afbd21be8e04a0314336b8ae16768b58f2d34cb1d04cd7d2  # nvidia_nvtx_cu12-12.6.77-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
LOCK

COPY <<'LOCK' /cudnn.txt
nvidia-cudnn-cu12==9.5.1.17 --hash=sha256:30ac3869f6db17d170e0e556dd6cc5eee02647abc31ca856634d5a40f82c15b2  # nvidia_cudnn_cu12-9.5.1.17-py3-none-manylinux_2_28_x86_64.whl
nvidia-cusparselt-cu12==0.6.3 --hash=sha256:e5c8a26c36445dd2e6812f1177978a24e2d37cacce7e090f297a688d1ec44f46  # nvidia_cusparselt_cu12-0.6.3-py3-none-manylinux2014_x86_64.whl
nvidia-nccl-cu12==2.26.2 --hash=sha256:694cf3879a206553cc9d7dbda76b13efaf610fdb70a50cba303de1b0d1530ac6  # nvidia_nccl_cu12-2.26.2-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
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
 && mkdir -p /layer/metadata/opt/venv/lib/python3.12/site-packages \
 && cp -a /mnt/metadata/. /layer/metadata/opt/venv/lib/python3.12/site-packages/ \
 && for folder in /mnt/layer/*/opt/venv/cuda/*/; do \
      name=$(basename "$folder"); [ "$name" != bin ] || continue; \
      ln -sfn "../../../cuda/$name" "/layer/metadata/opt/venv/lib/python3.12/site-packages/$name" \
      && mkdir -p "/layer/metadata/opt/venv/cuda/$name" \
      && touch "/layer/metadata/opt/venv/cuda/$name/.keep"; \
    done \
 && settle

# ---- python: small packages ---------------------------------------------------------------------------------------
FROM scratch AS python-lock
COPY <<'LOCK' /python.txt
filelock==4.2.11 --hash=sha256:020e229e4bb9d410fc799c07ddf45fa217cba970278f40b30751d94f309b69e2  # filelock-4.2.11-py3-none-any.whl
fsspec==2026.9.0 --hash=sha256:8dd6e646e99ea382bd85f97a45e6b526a442d79423a7dc673f1e2756d05fcb5f  # fsspec-2026.9.0-py3-none-any.whl
jinja2==3.1.6 --hash=sha256:85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67  # jinja2-3.1.6-py3-none-any.whl
markupsafe==3.0.4 --hash=sha256:8e124f974786f831d6043728e38296969d3579db8896fe004682f5758e613581  # markupsafe-3.0.4-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl
mpmath==1.3.0 --hash=sha256:a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c  # mpmath-1.3.0-py3-none-any.whl
networkx==3.7 --hash=sha256:e3fd2c13a7814cee3746340d8d7f8598a67f16a58bf47fb7f8793fab6efca1b0  # networkx-3.7-py3-none-any.whl
numpy==2.5.5 --hash=sha256:704d819265e5d1064d932968e9ee85fff2103ccc78c05b878c06943ba27b8507  # numpy-2.5.5-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
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
triton==3.3.1 --hash=sha256:9999e83aba21e1a78c1f36f21bce621b77bcaa530277a50484a7cb4a822f6e43  # triton-3.3.1-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
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
torch==2.7.1 --hash=sha256:c33360cfc2edd976c2633b3b66c769bdcbbf0e0b6550606d188431c81e7dd1fc  # torch-2.7.1-cp312-cp312-manylinux_2_28_x86_64.whl
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
cffi==2.1.1 --hash=sha256:c1453022f490d2459a11819d83ad1d586e9ff65a12ac3e705ffebd46d3685dcf  # cffi-2.1.1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
pycparser==3.12 --hash=sha256:a076f3f489b39b43ed13563a1dafe42447445bec2e294154ec5c57fcdda4c85e  # pycparser-3.12-py3-none-any.whl
soundfile==0.14.0 --hash=sha256:1e38bac1853412871318e82a1ba69a8be677619b56025bbfcccdb41b6cafe82d  # soundfile-0.14.0-py2.py3-none-manylinux_2_28_x86_64.whl
torchaudio==2.7.1 --hash=sha256:9cbcdaab77ad9a73711acffee58f4eebc8a0685289a938a3fa6f660af9489aee  # torchaudio-2.7.1-cp312-cp312-manylinux_2_28_x86_64.whl
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
{"lock": {"cffi": "2.1.1", "filelock": "4.2.11", "fsspec": "2026.9.0", "jinja2": "3.1.6", "markupsafe": "3.0.4", "mpmath": "1.3.0", "networkx": "3.7", "numpy": "2.5.5", "nvidia-cublas-cu12": "12.6.4.1", "nvidia-cuda-cupti-cu12": "12.6.80", "nvidia-cuda-nvrtc-cu12": "12.6.77", "nvidia-cuda-runtime-cu12": "12.6.77", "nvidia-cudnn-cu12": "9.5.1.17", "nvidia-cufft-cu12": "11.3.0.4", "nvidia-cufile-cu12": "1.11.1.6", "nvidia-curand-cu12": "10.3.7.77", "nvidia-cusolver-cu12": "11.7.1.2", "nvidia-cusparse-cu12": "12.5.4.2", "nvidia-cusparselt-cu12": "0.6.3", "nvidia-nccl-cu12": "2.26.2", "nvidia-nvjitlink-cu12": "12.6.85", "nvidia-nvtx-cu12": "12.6.77", "pip": "26.3", "pycparser": "3.12", "setuptools": "84.2.1", "soundfile": "0.14.0", "sympy": "1.14.0", "torch": "2.7.1", "torchaudio": "2.7.1", "triton": "3.3.1", "typing-extensions": "4.16.0"}, "sm": ["5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"], "versions": {"cuda": "12.6", "python": "3.12", "torch": "2.7.1", "torchaudio": "2.7.1", "torchcodec": null}}
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
      org.opencontainers.image.description="torch 2.7.1 and torchaudio 2.7.1, CUDA 12.6, Python 3.12" \
      org.opencontainers.image.version="2.7.1-cu126-py312-local-ubuntu24.04" \
      org.opencontainers.image.base.name="torchpair-base:ubuntu24.04" \
      torchpair.row="torch2.7.1-cu126-py312" \
      torchpair.torch="2.7.1" \
      torchpair.torchaudio="2.7.1" \
      torchpair.torchcodec="none" \
      torchpair.cuda="12.6" \
      torchpair.python="3.12" \
      torchpair.base="local:ubuntu24.04" \
      torchpair.sm="5.0 6.0 7.0 7.5 8.0 8.6 9.0" \
      torchpair.min-driver="525.60.13"
USER 10001:10001
WORKDIR /home/torchpair
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python"]
