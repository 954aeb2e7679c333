# Rendered by torchpair from matrix.yaml by `torchpair render`: do not edit, `torchpair render --check` compares.
# Row torch2.6.0-audiosrc-cu124-py313, base local.
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
      # torchaudio opens files through FFmpeg
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
nvidia-cublas-cu12==12.4.5.8 --hash=sha256:2fc8da60df463fdefa81e323eef2e36489e1c94335b5358bcb38360adf75ac9b  # nvidia_cublas_cu12-12.4.5.8-py3-none-manylinux2014_x86_64.whl
nvidia-cuda-cupti-cu12==12.4.127 --hash=sha256:9dec60f5ac126f7bb551c055072b69d85392b13311fcc1bcda2202d172df30fb  # nvidia_cuda_cupti_cu12-12.4.127-py3-none-manylinux2014_x86_64.whl
nvidia-cuda-nvrtc-cu12==12.4.127 --hash=sha256:a178759ebb095827bd30ef56598ec182b85547f1508941a3d560eb7ea1fbf338  # nvidia_cuda_nvrtc_cu12-12.4.127-py3-none-manylinux2014_x86_64.whl
nvidia-cuda-runtime-cu12==12.4.127 --hash=sha256:64403288fa2136ee8e467cdc9c9427e0434110899d07c779f25b5c068934faa5  # nvidia_cuda_runtime_cu12-12.4.127-py3-none-manylinux2014_x86_64.whl
nvidia-cufft-cu12==11.2.1.3 --hash=sha256:f083fc24912aa410be21fa16d157fed2055dab1cc4b6934a0e03cba69eb242b9  # nvidia_cufft_cu12-11.2.1.3-py3-none-manylinux2014_x86_64.whl
nvidia-curand-cu12==10.3.5.147 --hash=sha256:a88f583d4e0bb643c49743469964103aa59f7f708d862c3ddb0fc07f851e3b8b  # nvidia_curand_cu12-10.3.5.147-py3-none-manylinux2014_x86_64.whl
nvidia-cusolver-cu12==11.6.1.9 --hash=sha256:19e33fa442bcfd085b3086c4ebf7e8debc07cfe01e11513cc6d332fd918ac260  # nvidia_cusolver_cu12-11.6.1.9-py3-none-manylinux2014_x86_64.whl
nvidia-cusparse-cu12==12.3.1.170 --hash=sha256:ea4f11a2904e2a8dc4b1833cc1b5181cde564edd0d5cd33e3c168eff2d1863f1  # nvidia_cusparse_cu12-12.3.1.170-py3-none-manylinux2014_x86_64.whl
nvidia-nvjitlink-cu12==12.4.127 --hash=sha256:06b3b9b25bf3f8af351d664978ca26a16d2c5127dbd53c0497e28d1fb9611d57  # nvidia_nvjitlink_cu12-12.4.127-py3-none-manylinux2014_x86_64.whl
nvidia-nvtx-cu12==12.4.127 --hash=sha256:781e950d9b9f60d8241ccea575b32f5105a5baf4c2351cab5256a24869f12a1a  # nvidia_nvtx_cu12-12.4.127-py3-none-manylinux2014_x86_64.whl
LOCK

COPY <<'LOCK' /cudnn.txt
nvidia-cudnn-cu12==9.1.0.70 --hash=sha256:165764f44ef8c61fcdfdfdbe769d687e06374059fbb388b6c89ecb0e28793a6f  # nvidia_cudnn_cu12-9.1.0.70-py3-none-manylinux2014_x86_64.whl
nvidia-cusparselt-cu12==0.6.2 --hash=sha256:df2c24502fd76ebafe7457dbc4716b2fec071aabaed4fb7691a201cde03704d9  # nvidia_cusparselt_cu12-0.6.2-py3-none-manylinux2014_x86_64.whl
nvidia-nccl-cu12==2.21.5 --hash=sha256:8579076d30a8c24988834445f8d633c697d42397e92ffc3f63fa26766d25e0a0  # nvidia_nccl_cu12-2.21.5-py3-none-manylinux2014_x86_64.whl
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
filelock==4.2.11 --hash=sha256:020e229e4bb9d410fc799c07ddf45fa217cba970278f40b30751d94f309b69e2  # filelock-4.2.11-py3-none-any.whl
fsspec==2026.9.0 --hash=sha256:8dd6e646e99ea382bd85f97a45e6b526a442d79423a7dc673f1e2756d05fcb5f  # fsspec-2026.9.0-py3-none-any.whl
jinja2==3.1.6 --hash=sha256:85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67  # jinja2-3.1.6-py3-none-any.whl
markupsafe==3.0.4 --hash=sha256:434139499bb20b502ed3baa1f169e618f924a97e7a777fea1a49446d80106cf6  # markupsafe-3.0.4-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl
mpmath==1.3.0 --hash=sha256:a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c  # mpmath-1.3.0-py3-none-any.whl
networkx==3.7 --hash=sha256:e3fd2c13a7814cee3746340d8d7f8598a67f16a58bf47fb7f8793fab6efca1b0  # networkx-3.7-py3-none-any.whl
numpy==2.5.5 --hash=sha256:824025655df929268bfe6b47ed91a00d14209a6f760847cf150be446829e1ce4  # numpy-2.5.5-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13  # pip-26.3-py3-none-any.whl
setuptools==84.2.1 --hash=sha256:ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2  # setuptools-84.2.1-py3-none-any.whl
sympy==1.13.1 --hash=sha256:db36cdc64bf61b9b24578b6f7bab1ecdd2452cf008f34faa33776680c26d66f8  # sympy-1.13.1-py3-none-any.whl
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
triton==3.2.0 --hash=sha256:e5dfa23ba84541d7c0a531dfce76d8bcd19159d50a4a8b14ad01e91734a5c1b0  # triton-3.2.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
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
torch==2.6.0 --hash=sha256:4874a73507a300a5d089ceaff616a569e7bb7c613c56f37f63ec3ffac65259cf  # torch-2.6.0-cp313-cp313-manylinux1_x86_64.whl
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
{"compiled": {"sm": ["8.0", "9.0"], "torchaudio": "2.6.0+cu124"}, "lock": {"cffi": "2.1.1", "filelock": "4.2.11", "fsspec": "2026.9.0", "jinja2": "3.1.6", "markupsafe": "3.0.4", "mpmath": "1.3.0", "networkx": "3.7", "numpy": "2.5.5", "nvidia-cublas-cu12": "12.4.5.8", "nvidia-cuda-cupti-cu12": "12.4.127", "nvidia-cuda-nvrtc-cu12": "12.4.127", "nvidia-cuda-runtime-cu12": "12.4.127", "nvidia-cudnn-cu12": "9.1.0.70", "nvidia-cufft-cu12": "11.2.1.3", "nvidia-curand-cu12": "10.3.5.147", "nvidia-cusolver-cu12": "11.6.1.9", "nvidia-cusparse-cu12": "12.3.1.170", "nvidia-cusparselt-cu12": "0.6.2", "nvidia-nccl-cu12": "2.21.5", "nvidia-nvjitlink-cu12": "12.4.127", "nvidia-nvtx-cu12": "12.4.127", "pip": "26.3", "pycparser": "3.12", "setuptools": "84.2.1", "soundfile": "0.14.0", "sympy": "1.13.1", "torch": "2.6.0", "triton": "3.2.0", "typing-extensions": "4.16.0"}, "sm": ["8.0", "9.0"], "versions": {"cuda": "12.4", "python": "3.13", "torch": "2.6.0", "torchaudio": "2.6.0", "torchcodec": null}}
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

# ---- toolkit: nvcc of CUDA 12.4, from the distribution's own packages (non-free) ------------------------------------
# Unpacked, not installed: of its 6 GB a compile needs the compiler, the headers and the libraries' stubs.
FROM base AS toolkit
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /var/tmp/debs
RUN --mount=type=cache,id=torchpair-apt-debian13,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=torchpair-lists-debian13,target=/var/lib/apt/lists,sharing=locked \
    --mount=from=bundle,target=/mnt \
    conf=/mnt/apt/debian13.conf; [ ! -e "$conf" ] || export APT_CONFIG="$conf" \
 && find /etc/apt -maxdepth 2 '(' -name '*.list' -o -name '*.sources' ')' -exec \
      sed -Ei -e '/^deb /s/ main( .*)?$/ main contrib non-free/' -e 's/^(Components: main).*/\1 contrib non-free/' {} + \
 && apt-get update \
 && apt-get download nvidia-cuda-toolkit nvidia-cuda-dev libcudart12 libnvtoolsext1 libcub-dev libthrust-dev libcu++-dev \
 && mkdir -p /opt/toolkit unpacked \
 && for file in *.deb; do \
      dpkg-deb --fsys-tarfile "$file" | tar -x -C unpacked \
        --exclude='*/libcu[bfrs]*_static*.a' --exclude='*/libn*_static*.a' --exclude='*/compute-sanitizer/*' --exclude='./usr/share/*'; \
    done \
 && cp -a unpacked/usr/lib/nvidia-cuda-toolkit/. /opt/toolkit/ \
 && mkdir /opt/toolkit/nvvm \
 && mv /opt/toolkit/libdevice /opt/toolkit/nvvm/ \
 && cp -a -n unpacked/usr/bin unpacked/usr/include /opt/toolkit/ \
 && cp -a unpacked/usr/lib/*-linux-gnu /opt/toolkit/lib64 \
 && rm -rf /opt/toolkit/bin/nvcc.profile /opt/toolkit/bin/gcc /opt/toolkit/bin/g++ /var/tmp/debs
# -isystem: with -I nvcc 12.4 trips over a newer glibc's declarations of the same functions.
COPY <<'PROFILE' /opt/toolkit/bin/nvcc.profile
TOP = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(_HERE_)/../nvvm/libdevice
PATH += $(_HERE_):
INCLUDES += "-isystem" "$(_HERE_)/../include" $(_SPACE_)
LIBRARIES =+ $(_SPACE_) "-L$(_HERE_)/../lib64/stubs" "-L$(_HERE_)/../lib64"
CUDAFE_FLAGS +=
PTXAS_FLAGS +=
PROFILE


# ---- audio-source: torchaudio's own repository; `--source` puts another source in its place ------------------------------
FROM scratch AS audio-source
ADD --keep-git-dir=true https://github.com/pytorch/audio.git#v2.6.0 /

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
      ccache g++-13 git python3-dev
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

# ---- preflight-torchaudio, compile-torchaudio: torchaudio 2.6.0+cu124 ---------------------------------------------
FROM compiler AS preflight-torchaudio
COPY <<'PLAN' /opt/torchaudio.json
{"base": false, "commit": "d8831425", "cuda": "12.4", "cxx": "g++-13", "environment": {"BUILD_SOX": "0", "USE_FFMPEG": "0"}, "gcc_max": 13, "label": "cu124", "package": "torchaudio", "python": "3.13", "ref": "v2.6.0", "row": "torch2.6.0-audiosrc-cu124-py313", "sm": ["8.0", "9.0"], "system": "cmake", "tools": "/opt/build", "torch": "2.6.0", "version": "2.6.0", "version_variable": "BUILD_VERSION"}
PLAN

ENV CUDA_HOME=/opt/toolkit
# Another value when `torchpair preflight` asks: who asks is told, and not that the cache has it.
ARG ASKED=
RUN --mount=type=bind,from=audio-source,target=/src,rw \
    --mount=type=bind,from=toolkit,source=/opt/toolkit,target=/opt/toolkit \
    python3 -B /opt/compiler.pyz preflight /opt/torchaudio.json --source /src

FROM preflight-torchaudio AS compile-torchaudio
RUN --mount=type=bind,from=audio-source,target=/src,rw \
    --mount=type=bind,from=toolkit,source=/opt/toolkit,target=/opt/toolkit \
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
    echo "$ASKED" && mkdir -p /out && cp /var/cache/torchpair/log/torch2.6.0-audiosrc-cu124-py313.*.log /out/

FROM scratch AS log
COPY --from=logging /out /


# ---- audio: the torchaudio that was compiled, and what reads files for it -----------------------------------------
FROM scratch AS audio-lock
COPY <<'LOCK' /audio.txt
cffi==2.1.1 --hash=sha256:a931079504ecc49efed7744c476a5c343a92fabf66dec2db95edb1b2fdc770e2  # cffi-2.1.1-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
pycparser==3.12 --hash=sha256:a076f3f489b39b43ed13563a1dafe42447445bec2e294154ec5c57fcdda4c85e  # pycparser-3.12-py3-none-any.whl
soundfile==0.14.0 --hash=sha256:1e38bac1853412871318e82a1ba69a8be677619b56025bbfcccdb41b6cafe82d  # soundfile-0.14.0-py2.py3-none-manylinux_2_28_x86_64.whl
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
      org.opencontainers.image.description="torch 2.6.0 and torchaudio 2.6.0, CUDA 12.4, Python 3.13" \
      org.opencontainers.image.version="2.6.0-audio2.6.0src-cu124-py313-debian13" \
      org.opencontainers.image.base.name="torchpair-base:debian13" \
      torchpair.row="torch2.6.0-audiosrc-cu124-py313" \
      torchpair.torch="2.6.0" \
      torchpair.torchaudio="2.6.0" \
      torchpair.torchcodec="none" \
      torchpair.cuda="12.4" \
      torchpair.python="3.13" \
      torchpair.base="local:debian13" \
      torchpair.sm="8.0 9.0" \
      torchpair.min-driver="525.60.13"
USER 10001:10001
WORKDIR /home/torchpair
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python"]
