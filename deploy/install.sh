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
#          --python PYTHON   the Python to build on (default: python3; 3.11 or newer)
#          --dry-run         only print what would be done
set -eu
umask 022

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
whose=system source=compute-canary python=python3 dry=no action=

say() { printf '%s\n' "$*"; }
fail() { say "install.sh: $*" >&2; exit 2; }
run() { if [ "$dry" = yes ]; then say "would run: $*"; else "$@"; fi; }

while [ $# -gt 0 ]; do
  case $1 in
    --user) whose=user ;;
    --from) [ $# -gt 1 ] || fail "--from needs a wheel, a folder or a requirement"; source=$2; shift ;;
    --python) [ $# -gt 1 ] || fail "--python needs the name of a Python"; python=$2; shift ;;
    --dry-run) dry=yes ;;
    install|upgrade|uninstall) [ -z "$action" ] || fail "one of install, upgrade, uninstall"; action=$1 ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown word '$1'; see $0 --help" ;;
  esac
  shift
done
[ -n "$action" ] || fail "say what to do: install, upgrade or uninstall; see $0 --help"

if [ "$whose" = system ]; then
  program=/opt/canary config=/etc/canary units=/etc/systemd/system state=/var/lib/canary
  ctl=systemctl log="journalctl -u canary" with="sudo env XDG_STATE_HOME=/var/lib "
  [ "$dry" = yes ] || [ "$(id -u)" = 0 ] || fail "the whole machine needs root: sudo $0 $action, or $0 --user $action"
else
  [ -n "${HOME:-}" ] || fail "HOME is not set"
  program=${XDG_DATA_HOME:-$HOME/.local/share}/canary config=${XDG_CONFIG_HOME:-$HOME/.config}/canary
  units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user state=${XDG_STATE_HOME:-$HOME/.local/state}/canary
  ctl="systemctl --user" log="journalctl --user -u canary" with=
fi

# The unit for this installation. A user's own manager cannot change users or hide what belongs to the machine, so
# those lines go; what is left still limits what a mistake could reach.
unit() {
  if [ "$whose" = system ]; then
    cat "$here/canary.service"
  else
    sed -e "s|/opt/canary/bin|$program/bin|; s|/etc/canary/|$config/|" \
        -e 's|^WantedBy=.*|WantedBy=default.target|' \
        -e '/^DynamicUser=/d; /^StateDirectory/d; /^After=network/d; /^Wants=network/d; /^ProtectProc=/d; /^ProcSubset=/d' \
        -e '/^PrivateUsers=/d; /^PrivateDevices=/d; /^DevicePolicy=/d; /^ProtectClock=/d; /^ProtectHostname=/d' \
        -e '/^ProtectKernel/d; /^ProtectControlGroups=/d; /^ProtectHome=/d; /^ProtectSystem=/d; /^PrivateTmp=/d' \
        -e '/^CapabilityBoundingSet=/d; /^AmbientCapabilities=/d; /^RemoveIPC=/d; /^KeyringMode=/d' \
        -e 's|^Environment=XDG_STATE_HOME=/var/lib |Environment=|' "$here/canary.service"
  fi
}

# systemctl fails where no systemd runs (a container, a chroot); the files are in place all the same
manage() { run $ctl "$@" || say "note: '$ctl $*' did not work here; do it where systemd runs"; }

install_program() {
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is not there or older than 3.11; name another: --python python3.12"
  [ -x "$program/bin/python" ] || run "$python" -m venv "$program"
  run "$program/bin/python" -m pip install --disable-pip-version-check --upgrade "$source"
}

install_unit() {
  [ -f "$here/canary.service" ] || fail "canary.service is not beside this script"
  run mkdir -p "$units"
  if [ "$dry" = yes ]; then say "would write: $units/canary.service"; else unit >"$units/canary.service"; fi
  manage daemon-reload
}

case $action in
  install)
    install_program
    run "$program/bin/canary" init "$config"
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
    install_program
    install_unit
    manage restart canary
    ;;
  uninstall)
    manage disable --now canary
    run rm -f "$units/canary.service"
    manage daemon-reload
    # only what this script made: a folder that is no Python environment is somebody else's
    if [ -f "$program/pyvenv.cfg" ] || [ "$dry" = yes ]; then run rm -rf "$program"; fi
    say "removed. Left as they are: $config and $state"
    ;;
esac
