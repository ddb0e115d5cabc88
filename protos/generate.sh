#!/bin/sh
# Writes the Python code for these protocol files, with types.
#
# usage: PYTHON=.venv/bin/python protos/generate.sh [OUTPUT_ROOT]
#   OUTPUT_ROOT  source root that receives volumehealth/csi/pb/*; default: operator
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
bin=$(dirname "$python")
root=${1:-operator}
# Mapped below the package's own path, so that generated imports are absolute and the tree needs no sys.path tricks.
package=volumehealth/csi/pb
"$python" -m grpc_tools.protoc \
  --proto_path="$package=protos" \
  --plugin=protoc-gen-mypy="$bin/protoc-gen-mypy" \
  --plugin=protoc-gen-mypy_grpc="$bin/protoc-gen-mypy_grpc" \
  --python_out="$root" --grpc_python_out="$root" --mypy_out="$root" --mypy_grpc_out="$root" \
  "$package/csi.proto" "$package/pluginregistration.proto"
