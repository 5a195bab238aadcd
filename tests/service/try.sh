#!/bin/bash
# The service for real: systemd started in namespaces of its own, install.sh run in it with a wheel, the daemon started,
# looked at, upgraded, wedged until the watchdog replaces it, and uninstalled. Its whole root is an overlay in memory, so
# that nothing it does reaches this machine. Needs root, util-linux and systemd; not part of `make test`.
#
#   tests/service/try.sh dist/compute_canary-*.whl
#
# DEPS=FOLDER: packages are borrowed from that folder of a Python of the same version instead of being downloaded.
set -u
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 2; }
python=/usr/bin/python3 deps=${DEPS:-}
wheel=$(readlink -f "$1") here=$(cd "$(dirname "$0")/../.." && pwd) work=$(mktemp -d) failed=0
inner='
  set -e
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$WORK"
  mkdir "$WORK"/up "$WORK"/work "$WORK"/root
  mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/up,workdir=$WORK/work" "$WORK/root"
  cd "$WORK/root"
  if [ -n "$DEPS" ]; then
    mkdir -p opt/borrowed; mount --bind "$DEPS" opt/borrowed
    /usr/bin/python3 -m venv opt/canary
    echo /opt/borrowed >"$(echo opt/canary/lib/python3.*/site-packages)/borrowed.pth"
  fi
  mkdir -p old; cp "$WHEEL" opt/; rm -rf opt/deploy; cp -r "$HERE/deploy" opt/deploy
  mount -t proc proc proc; mount -o bind,ro proc/sys proc/sys
  mount --rbind /sys sys; mount --rbind /dev dev
  for dir in run tmp var/tmp dev/shm; do mount -t tmpfs tmpfs "$dir"; done
  for unit in tmpfiles-setup tmpfiles-setup-dev sysctl binfmt modules-load remount-fs udevd random-seed; do
    ln -sf /dev/null "etc/systemd/system/systemd-$unit.service"  # nothing here is for them to set up
  done
  pivot_root . old; cd /; umount -l /old
  test "$(stat -f -c %T /)" = overlayfs && test "$(stat -f -c %T /tmp)" = tmpfs
  export container=docker
  exec /usr/lib/systemd/systemd --system --unit=basic.target --log-level=warning'
DEPS=$deps WORK=$work WHEEL=$wheel HERE=$here unshare --fork --kill-child --pid --mount --uts --ipc bash -c "$inner" >"$work.txt" 2>&1 &
outer=$!
trap 'kill -9 $outer 2>/dev/null; rmdir "$work"; rm -f "$work.txt"' EXIT
for _ in $(seq 900); do pid=$(pgrep -P "$outer" systemd) && break; sleep 0.1; done
[ -n "${pid:-}" ] || { echo "no systemd could be started here:"; cat "$work.txt"; exit 1; }
in_it() { nsenter -t "$pid" -m -p -u -i -r -w timeout -k 5 900 "$@"; }
show() { in_it systemctl show canary -p "$1" --value; }
until_is() { for _ in $(seq "$3"); do [ "$(show "$1")" = "$2" ] && return; sleep 1; done; false; }
expect() { if eval "$2"; then echo "ok      $1"; else echo "FAILED  $1"; failed=1; fi; }
script=/opt/deploy/install.sh wheel=/opt/$(basename "$wheel")
for _ in $(seq 100); do in_it systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded' && break; sleep 0.2; done

[ -z "$deps" ] || export PIP_NO_DEPS=1
in_it "$script" install --python "$python" --from "$wheel" >"$work.txt" 2>&1 || cat "$work.txt"
expect "installed, ready and active" 'until_is ActiveState active 200'
expect "runs as canary" '[ "$(in_it ps -o user= -p "$(show MainPID)" | tr -d " ")" = canary ]'
expect "its own folder is closed" '[ "$(in_it stat -c "%U %a" /var/lib/canary)" = "canary 700" ]'
expect "the database is for the service only" '[ -z "$(in_it find /var/lib/canary -name "*.sqlite" ! -perm 600)" ]'
expect "the rules are shared with a group" '[ "$(in_it stat -c "%G %a" /etc/canary/rules)" = "canary 2770" ]'
expect "healthz answers" 'in_it curl -fsS http://127.0.0.1:9108/healthz | grep -q ok'
expect "one line an event in the journal" 'in_it journalctl -u canary -o cat | grep -q "INFO canary: evaluated tick="'
expect "no line of the journal is a traceback" '! in_it journalctl -u canary -o cat | grep -q "^Traceback"'
in_it journalctl -u canary -o cat | grep -v "alert " | cut -c1-200 | head -20
echo "        $(($(in_it ps -o rss= -p "$(show MainPID)" || echo 0) / 1024)) MiB resident"

before=$(show MainPID)
in_it "$script" upgrade --python "$python" --from "$wheel" >"$work.txt" 2>&1 || cat "$work.txt"
expect "an upgrade restarts it" 'until_is ActiveState active 200 && [ "$(show MainPID)" != "$before" ]'

before=$(show MainPID)
in_it kill -STOP "$before"
expect "systemd replaces a daemon that is stuck" 'for _ in $(seq 200); do [ "$(show MainPID)" != "$before" ] && [ "$(show ActiveState)" = active ] && break; sleep 1; done; [ "$(show MainPID)" != "$before" ]'
in_it systemctl stop canary
expect "it stops cleanly" '[ "$(show Result)" = success ]'

in_it "$script" uninstall >"$work.txt" 2>&1 || cat "$work.txt"
expect "the program is gone" '! in_it test -e /opt/canary'
expect "config and database stay" 'in_it test -f /etc/canary/config.yaml && [ -n "$(in_it find /var/lib/canary -name "*.sqlite")" ]'
exit $failed
