# `fishseg predict` with an exported model: no torch, no DVC, no data.
#
#   fishseg export --out model.onnx
#   docker build --tag fishseg .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/pictures" fishseg photos --out fish
#
# Versions are those of requirements.lock. tests/test_container.py runs `predict` with these
# packages alone.
FROM python:3.11-slim
WORKDIR /opt/fishseg
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY fishseg fishseg
RUN grep -E '^(annotated-types|contourpy|cycler|filelock|flatbuffers|fonttools|kiwisolver|matplotlib|numpy|onnxruntime|opencv-python-headless|packaging|pandas|pillow|pillow_heif|platformdirs|protobuf|pydantic|pydantic_core|pyparsing|python-dateutil|ruamel\.yaml|scipy|six|tqdm|typing-inspection|typing_extensions)==' \
      requirements.lock > /tmp/packages \
 && pip install --no-cache-dir --no-deps --requirement /tmp/packages "setuptools>=77" \
 && pip install --no-cache-dir --no-deps --no-build-isolation . \
 && rm /tmp/packages
COPY model.onnx ./
WORKDIR /pictures
ENTRYPOINT ["fishseg", "predict", "--model", "/opt/fishseg/model.onnx"]
CMD ["--help"]
