#!/bin/bash
# torch 2.6.0 and the torchaudio for it, compiled from Debian 13's sources: hours, at the lowest priority. Ended (Ctrl-C, or
# by its id) and started again, it goes on where it was: ccache has every object that was finished.
#
#   examples/torch-source/compile.sh [OPTION]...    of `torchpair build`, such as --max-jobs 1
#
# BASE_IMAGE: a Debian 13; without a registry torchpair-base:debian13. TORCHPAIR: the command.
set -euo pipefail
cd "$(dirname "$0")/../.."
sources=$PWD/build/torch-source
archive=pytorch-audio_2.6.0.orig.tar.gz
sha256=3335d8fcf58c26acf3c628d751103b59226e01c91847ce56efb2a4e7ae8351ef

docker buildx build --load --quiet --tag torchpair-example:torch-source \
  --build-arg "BASE=${BASE_IMAGE:-debian:13}" examples/torch-source
if [ ! -e "$sources/torch/setup.py" ] || [ ! -e "$sources/$archive" ]; then
  mkdir -p "$sources"
  # The packaging files beside torchaudio's archive are not needed, and a mirror may have them no more: `|| true`.
  docker run --rm --volume "$sources:/out" torchpair-example:torch-source bash -ec "
    apt-get update -qq; cd /out; rm -rf torch pytorch-2.6.0*
    apt-get source -qq pytorch; mv pytorch-2.6.0*/ torch
    apt-get source -qq --download-only pytorch-audio || true; test -s $archive; chmod -R a+rwX torch $archive"
fi
exec ${TORCHPAIR:-torchpair} build torch-source --matrix examples/torch-source/matrix.yaml --nice \
  --torch-source "$sources/torch" --source "$sources/$archive#sha256=$sha256" "$@"
