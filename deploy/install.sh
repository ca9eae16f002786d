#!/bin/sh
# Install the station on Debian 12 or 13 or Raspberry Pi OS (64 bit), or uninstall it.
#
#   sudo deploy/install.sh                     install or update from this source tree
#   sudo deploy/install.sh --wheel FILE.whl    install or update from a wheel
#   sudo deploy/install.sh --uninstall         remove the software, keep settings and records
#   sudo deploy/install.sh --purge             also remove settings, records, models and the user
#
# The script can be run again safely: it never overwrites settings, builds an update next to the old
# release before it switches, and keeps the old release as `previous`. With DESTDIR=/some/folder in
# the environment it installs files below that folder and changes neither users nor services.
set -eu

PREFIX=/opt/epithermal
ETC=/etc/epithermal
STATE=/var/lib/epithermal
USER_NAME=epithermal
UNIT=epithermal-edge.service
RULES=70-epithermal-edge.rules
COMMAND=/usr/local/bin/epithermal-edge
DESTDIR=${DESTDIR:-}
HERE=$(cd "$(dirname "$0")" && pwd)

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}
usage() { sed -n '2,12s/^# \{0,1\}//p' "$0"; }
on_this_machine() { [ -z "$DESTDIR" ]; }
has_systemd() { on_this_machine && [ -d /run/systemd/system ]; }

check_machine() {
  # shellcheck source=/dev/null
  . /etc/os-release
  case "${ID:-}:${VERSION_ID:-}" in
    debian:12 | debian:13 | raspbian:12 | raspbian:13) ;;
    *) fail "this is ${PRETTY_NAME:-unknown}; Debian 12 or 13, or Raspberry Pi OS of 2023 or later, is required" ;;
  esac
  [ "$(getconf LONG_BIT)" = 64 ] || fail "a 64-bit system is required: TFLite has no wheel for 32 bit"
  if on_this_machine; then
    [ "$(id -u)" = 0 ] || fail "root is required: sudo $0"
    [ ! -d /usr/lib/epithermal ] || fail "the Debian package is installed: apt remove epithermal-edge"
  fi
}

find_python() {
  PYTHON=${PYTHON:-python3}
  if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    on_this_machine || fail "$PYTHON has no venv: apt-get install python3-venv"
    say "installing python3-venv"
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3 python3-venv
  fi
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is required"
}

make_user() {
  on_this_machine || return 0
  getent passwd "$USER_NAME" >/dev/null || useradd --system --user-group --no-create-home \
    --home-dir "$STATE" --shell /usr/sbin/nologin "$USER_NAME"
}

# Point link $1 to folder $2 next to it, by an atomic rename, so that the link is never missing.
point_link() {
  ln -sfn "$2" "$1.new"
  mv -T "$1.new" "$1"
}

install_software() {
  release=release-$(date -u +%Y%m%dT%H%M%SZ)-$$
  folder=$DESTDIR$PREFIX/$release
  mkdir -p "$DESTDIR$PREFIX"
  trap 'rm -rf "$folder"' EXIT
  trap 'exit 1' INT TERM
  "$PYTHON" -m venv "$folder"
  # shellcheck disable=SC2086
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check ${PIP_OPTIONS:-} "$SOURCE"
  "$folder/bin/epithermal-edge" --version
  trap - EXIT INT TERM
  before=$(readlink "$DESTDIR$PREFIX/current" || true)
  [ -z "$before" ] || point_link "$DESTDIR$PREFIX/previous" "$before"
  point_link "$DESTDIR$PREFIX/current" "$release"
  for old in "$DESTDIR$PREFIX"/release-*; do
    case "${old##*/}" in
      "$release" | "$before") ;;
      *) rm -rf "$old" ;;
    esac
  done
  mkdir -p "$DESTDIR${COMMAND%/*}"
  ln -sfn "$PREFIX/current/bin/epithermal-edge" "$DESTDIR$COMMAND"
}

install_settings() {
  mkdir -p "$DESTDIR$ETC/credentials" "$DESTDIR$STATE/models"
  chmod 0700 "$DESTDIR$ETC/credentials"
  chmod 0750 "$DESTDIR$ETC" "$DESTDIR$STATE"
  if [ ! -e "$DESTDIR$ETC/station.toml" ]; then
    sed -e "s|^state_dir = \"state\" |state_dir = \"$STATE\" |" \
      -e "s|^bundle = \"model/current\" |bundle = \"$STATE/models/current\" |" \
      "$HERE/station.example.toml" >"$DESTDIR$ETC/station.toml.new"
    chmod 0640 "$DESTDIR$ETC/station.toml.new"
    mv "$DESTDIR$ETC/station.toml.new" "$DESTDIR$ETC/station.toml"
    FRESH=1
  fi
  if on_this_machine; then
    chown -R "root:$USER_NAME" "$ETC"
    chown -R root:root "$ETC/credentials"
    chown -R "$USER_NAME:$USER_NAME" "$STATE"
  fi
}

install_service() {
  mkdir -p "$DESTDIR/etc/systemd/system" "$DESTDIR/etc/udev/rules.d"
  install -m 0644 "$HERE/$UNIT" "$DESTDIR/etc/systemd/system/$UNIT"
  install -m 0644 "$HERE/$RULES" "$DESTDIR/etc/udev/rules.d/$RULES"
  if has_systemd; then
    systemctl daemon-reload
    systemctl enable --quiet "$UNIT"
    reload_udev
    # restart a running station with the updated software
    systemctl try-restart "$UNIT"
  fi
}

reload_udev() {
  if command -v udevadm >/dev/null && [ -S /run/udev/control ]; then
    udevadm control --reload
    udevadm trigger --subsystem-match=tty
  fi
}

install_all() {
  check_machine
  find_python
  make_user
  install_software
  install_settings
  install_service
  say "installed $(readlink "$DESTDIR$PREFIX/current")"
  if [ -n "$FRESH" ]; then
    say "next steps:"
    say "  1. edit $ETC/station.toml; copy password and certificates to $ETC/credentials"
    say "  2. epithermal-edge model install $ETC/station.toml BUNDLE"
    say "  3. epithermal-edge check $ETC/station.toml"
    say "  4. systemctl start ${UNIT%.service}"
  fi
}

uninstall() {
  on_this_machine && [ "$(id -u)" != 0 ] && fail "root is required: sudo $0 --uninstall"
  if has_systemd && [ -e "/etc/systemd/system/$UNIT" ]; then
    systemctl disable --quiet --now "$UNIT"
  fi
  rm -f "$DESTDIR/etc/systemd/system/$UNIT" "$DESTDIR/etc/udev/rules.d/$RULES"
  rm -f "$DESTDIR$COMMAND" "$DESTDIR$PREFIX/current" "$DESTDIR$PREFIX/previous"
  rm -rf "$DESTDIR$PREFIX"/release-*
  if has_systemd; then
    systemctl daemon-reload
    systemctl reset-failed "$UNIT" 2>/dev/null || true
    reload_udev
  fi
  if [ "$1" = purge ]; then
    rm -rf "$DESTDIR$ETC" "$DESTDIR$STATE" "$DESTDIR$PREFIX"
    if on_this_machine && getent passwd "$USER_NAME" >/dev/null; then
      userdel "$USER_NAME"
    fi
    say "removed, including settings, records and models"
  else
    rmdir "$DESTDIR$PREFIX" 2>/dev/null || true
    say "removed; settings in $ETC, records and models in $STATE are kept"
  fi
}

SOURCE=$HERE/../edge
FRESH=
ACTION=install
while [ $# -gt 0 ]; do
  case "$1" in
    --wheel)
      [ $# -gt 1 ] || fail "--wheel needs a file"
      SOURCE=$2
      shift
      ;;
    --uninstall) ACTION=uninstall ;;
    --purge) ACTION=purge ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) fail "unknown option $1; see $0 --help" ;;
  esac
  shift
done
case "$ACTION" in
  install)
    [ -e "$SOURCE" ] || fail "$SOURCE: no such file"
    install_all
    ;;
  *) uninstall "$ACTION" ;;
esac
