# `fishseg predict` with the decoder that ships: no torch, no DVC, no data.
#
#   docker build --tag fishseg .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/pictures" fishseg photos --out fish
#
# With another model, exported by `fishseg export`: add --model model.onnx, a file below $PWD.
#
# Versions are those of requirements.lock. tests/test_base_installation.py runs `predict` with these
# packages alone. openvino asks for openvino-telemetry, too, which is left out on purpose (`pip check`
# says so): it would report every run.
FROM python:3.11-slim
WORKDIR /opt/fishseg
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY fishseg fishseg
RUN grep -E '^(contourpy|filelock|numpy|opencv-python-headless|openvino|pillow|pillow_heif|platformdirs|safetensors|scipy|tqdm)==' \
      requirements.lock > /tmp/packages \
 && pip install --no-cache-dir --no-deps --requirement /tmp/packages "setuptools>=77" \
 && pip install --no-cache-dir --no-deps --no-build-isolation . \
 && rm /tmp/packages
# The backbone's weights, which would be fetched by the first run otherwise.
ENV XDG_CACHE_HOME=/opt/fishseg/cache
RUN python -c 'import fishseg; fishseg.load()' && rm -r cache/fishseg/store && chmod -R a+rX cache
WORKDIR /pictures
ENTRYPOINT ["fishseg", "predict"]
CMD ["--help"]
