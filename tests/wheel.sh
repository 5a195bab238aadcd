#!/bin/sh
# The wheel as a stranger gets it: built into dist/, installed alone into an environment of its own far from the checkout,
# then `canary init`, `check`, `tick --offline` and `run --offline` until the first evaluation, stopped by SIGTERM.
#
#   sh tests/wheel.sh PYTHON        its packages are borrowed, so that nothing is downloaded twice
set -eu
python=$(command -v "$1") here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
case $python in /*) ;; *) python=$here/$python ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here"
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/dist" .
mkdir -p dist && cp "$work"/dist/*.whl dist/
"$python" -m venv "$work/venv"
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$work/borrowed"
# our own package must come from the wheel alone: an editable installation in the borrowed folder does not count
own=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$work"/dist/*.whl
echo "import sys; sys.path.append('$(cat "$work/borrowed")')" >"$own/borrowed.pth"
cd "$work"
export HOME=$work XDG_STATE_HOME=$work/state
canary=$work/venv/bin/canary
test "$("$work/venv/bin/python" -c 'import monitor; print(monitor.__file__)')" = "$own/monitor/__init__.py"
"$canary" init desk >/dev/null
"$canary" check --config desk >check.txt || { code=$?; [ $code = 1 ] || { cat check.txt; exit $code; }; }
printf 'serve: {enabled: false}\n' | cat - desk/config.yaml | awk '/^serve:/ && n++ {skip=1; next} /^[^ ]/ {skip=0} !skip' >c && mv c desk/config.yaml
"$canary" run --offline --config desk >run.txt 2>&1 &
daemon=$!
n=0
until grep -q 'next evaluation' run.txt; do
  n=$((n + 1)); kill -0 $daemon 2>/dev/null && [ $n -lt 600 ] || { cat run.txt; exit 1; }
  sleep 0.5
done
kill -TERM $daemon
wait $daemon
tail -n 1 run.txt | grep -qx stopped
echo "the wheel works: $(ls "$here/dist" | tail -n 1), $(wc -l <run.txt) lines said, last: $(tail -n 1 run.txt)"
