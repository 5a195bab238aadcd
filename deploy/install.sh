#!/bin/sh
# Installs, upgrades or removes Canary as a service. Run it from a checkout or next to its files.
#
#   sudo ./install.sh install             for the whole machine: /opt/canary, /etc/canary, service of its own user
#   ./install.sh --user install           for you alone: ~/.local/share/canary, ~/.config/canary, your own service
#   sudo ./install.sh upgrade             a newer version; config, rules, book and database stay as they are
#   sudo ./install.sh uninstall           program and service go; config, rules, book and database stay
#
# Options: --user            for you alone instead of the whole machine
#          --from SOURCE     what pip installs: a wheel, a checkout, or a requirement (default: compute-canary)
#          --fast            with compiled simulation (the extra "fast"); an upgrade keeps what was chosen
#          --python PYTHON   the Python to build on (default: python3; 3.11 or newer)
#          --root DIR        files only, below another root (an image being built): no user is made, nothing started
#          --dry-run         only print what would be done
set -eu
umask 022

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
whose=system source=compute-canary python=python3 dry=no fast=no root='' action=

say() { printf '%s\n' "$*"; }
fail() { say "install.sh: $*" >&2; exit 2; }
run() { if [ "$dry" = yes ]; then say "would run: $*"; else "$@"; fi; }

while [ $# -gt 0 ]; do
  case $1 in
    --user) whose=user ;;
    --from) [ $# -gt 1 ] || fail "--from needs a wheel, a folder or a requirement"; source=$2; shift ;;
    --fast) fast=yes ;;
    --python) [ $# -gt 1 ] || fail "--python needs the name of a Python"; python=$2; shift ;;
    --root) [ $# -gt 1 ] && [ -d "$2" ] || fail "--root needs a folder that is there"
            root=$(CDPATH='' cd -- "$2" && pwd); shift ;;
    --dry-run) dry=yes ;;
    install|upgrade|uninstall) [ -z "$action" ] || fail "one of install, upgrade, uninstall"; action=$1 ;;
    -h|--help) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown word '$1'; see $0 --help" ;;
  esac
  shift
done
[ -n "$action" ] || fail "say what to do: install, upgrade or uninstall; see $0 --help"
[ "$root" != / ] || root=
[ -z "$root" ] || [ "$whose" = system ] || fail "--root is for the whole machine, not for --user"

if [ "$whose" = system ]; then
  program=$root/opt/canary config=$root/etc/canary units=$root/etc/systemd/system state=$root/var/lib/canary
  ctl=systemctl log="journalctl -u canary" with="sudo -u canary env XDG_STATE_HOME=/var/lib "
  [ "$dry" = yes ] || [ "$(id -u)" = 0 ] || fail "the whole machine needs root: sudo $0 $action, or $0 --user $action"
else
  [ -n "${HOME:-}" ] || fail "HOME is not set"
  program=${XDG_DATA_HOME:-$HOME/.local/share}/canary config=${XDG_CONFIG_HOME:-$HOME/.config}/canary
  units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user state=${XDG_STATE_HOME:-$HOME/.local/state}/canary
  ctl="systemctl --user" log="journalctl --user -u canary" with=
fi
dropin=$units/canary.service.d
[ ! -f "$dropin/fast.conf" ] || fast=yes

# The unit for this installation. A user's own manager cannot change users or hide what belongs to the machine, so
# those lines go; what is left still limits what a mistake could reach.
unit() {
  if [ "$whose" = system ]; then
    cat "$here/canary.service"
  else
    sed -e "s|/opt/canary/bin|$program/bin|; s|/etc/canary/|$config/|" \
        -e 's|^WantedBy=.*|WantedBy=default.target|' \
        -e '/^User=/d; /^Group=/d; /^ReadWritePaths=/d' \
        -e '/^StateDirectory/d; /^After=network/d; /^Wants=network/d; /^ProtectProc=/d; /^ProcSubset=/d' \
        -e '/^PrivateUsers=/d; /^PrivateDevices=/d; /^DevicePolicy=/d; /^ProtectClock=/d; /^ProtectHostname=/d' \
        -e '/^ProtectKernel/d; /^ProtectControlGroups=/d; /^ProtectHome=/d; /^ProtectSystem=/d; /^PrivateTmp=/d' \
        -e '/^CapabilityBoundingSet=/d; /^AmbientCapabilities=/d; /^RemoveIPC=/d; /^KeyringMode=/d' \
        -e 's|^Environment=XDG_STATE_HOME=/var/lib |Environment=|' "$here/canary.service"
  fi
}

# systemctl fails where no systemd runs (a container, a chroot); the files are in place all the same
manage() {
  [ -z "$root" ] || return 0
  run $ctl "$@" || say "note: '$ctl $*' did not work here; do it where systemd runs"
}

install_program() {
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is not there or older than 3.11; name another: --python python3.12"
  if [ "$whose" = system ]; then
    # the service sees no home folder (ProtectHome), so a Python that lives in one would not start there
    case $("$python" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))' 2>/dev/null) in
      /home/*|/root/*) fail "$python lives in a home folder, which the service may not see; try --python /usr/bin/python3" ;;
    esac
  fi
  [ -x "$program/bin/python" ] || run "$python" -m venv "$program"
  what=$source
  [ "$fast" = no ] || what="$source[fast]"
  run "$program/bin/python" -m pip install --disable-pip-version-check --upgrade "$what"
}

install_unit() {
  [ -f "$here/canary.service" ] || fail "canary.service is not beside this script"
  run mkdir -p "$units"
  if [ "$dry" = yes ]; then say "would write: $units/canary.service"; else unit >"$units/canary.service"; fi
  if [ "$fast" = yes ]; then run mkdir -p "$dropin"; run cp "$here/fast.conf" "$dropin/fast.conf"; fi
  manage daemon-reload
}

# The user of the service, and its group: whoever is in it may edit config, rules and book as the chat does.
make_user() {
  [ "$whose" = system ] && [ -z "$root" ] || return 0
  getent group canary >/dev/null || run groupadd --system canary
  getent passwd canary >/dev/null ||
    run useradd --system --gid canary --home-dir "$state" --no-create-home --shell /usr/sbin/nologin canary
}

# Setgid: what anybody makes there belongs to the group. Tokens beside them stay as they are, for root only.
share_files() {
  [ "$whose" = system ] && [ -z "$root" ] || return 0
  for part in "$config/config.yaml" "$config/rules" "$config/book" "$config/scenarios"; do
    [ -e "$part" ] || [ "$dry" = yes ] || continue
    run chgrp -R canary "$part"
    run chmod -R u=rwX,g=rwX,o= "$part"
    run find "$part" -type d -exec chmod g+s {} +
  done
  run chgrp canary "$config"
  run chmod u=rwx,g=rwxs,o= "$config"
}

case $action in
  install)
    make_user
    install_program
    run "$program/bin/canary" init "$config"
    share_files
    install_unit
    manage enable --now canary
    say "installed. Edit $config/config.yaml, then: $with$program/bin/canary doctor --config $config/config.yaml"
    say "database: $state    log: $log"
    ;;
  upgrade)
    [ "$dry" = yes ] || [ -x "$program/bin/canary" ] || fail "nothing is installed in $program; use install"
    if [ -f "$state/canary.sqlite" ]; then
      run env XDG_STATE_HOME="${state%/canary}" "$program/bin/canary" backup "$state/before-upgrade-$(date -u +%Y%m%dT%H%M%S).sqlite" --config "$config/config.yaml"
    fi
    make_user
    install_program
    share_files
    install_unit
    manage restart canary
    ;;
  uninstall)
    manage disable --now canary
    run rm -f "$units/canary.service" "$dropin/fast.conf"
    [ ! -d "$dropin" ] || run rmdir "$dropin" || say "note: $dropin has other files; left as it is"
    manage daemon-reload
    # only what this script made: a folder that is no Python environment is somebody else's
    if [ -f "$program/pyvenv.cfg" ] || [ "$dry" = yes ]; then run rm -rf "$program"; fi
    say "removed. Left as they are: $config and $state"
    ;;
esac
