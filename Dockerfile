# PartDistillation with what photographs need. Nobody has built this file yet (README: what has not been run).
#   docker build --tag partdistillation .
#   docker build --tag partdistillation:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" partdistillation run --images photos --out out/mine
# For CUDA add `--gpus all` to `docker run`; the wheels bring CUDA's libraries, the host the driver.
FROM python:3.12-slim

# Which PyTorch: for CPUs, or for a version of CUDA (see PyTorch's install page).
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Matplotlib, numba, Hugging Face and the saliency network keep files; any user may write them.
ENV HOME=/cache MPLCONFIGDIR=/cache/matplotlib NUMBA_CACHE_DIR=/cache/numba HF_HOME=/cache/huggingface \
    U2NET_HOME=/cache/u2net PYTHONUNBUFFERED=1
RUN mkdir --mode 1777 /cache

RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" 'torch>=2.11,<2.14'
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir '.[fonts,photos,review]'

WORKDIR /work
ENTRYPOINT ["partdistill"]
CMD ["--help"]
