#!/bin/sh
# An authority of one's own, the broker's certificate, and one for each station.
#
#   make-certs.sh FOLDER BROKER-NAME STATION...
#
# Again is safe: what is there is kept, so that stations can be added. Keep ca.key off the broker.
# A station gets ca.pem, STATION.pem and STATION.key; the broker ca.pem, server.pem and server.key.
set -eu

[ $# -ge 2 ] || {
  sed -n '2,7s/^# \{0,1\}//p' "$0"
  exit 2
}
folder=$1 broker=$2
shift 2
umask 077
mkdir -p "$folder"
cd "$folder"

# NAME SUBJECT EXTENSIONS: a key and a certificate that the authority has signed
sign() {
  [ ! -e "$1.pem" ] || return 0
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$1.key" -subj "/CN=$2" -out "$1.csr" 2>/dev/null
  printf '%s\n' "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
    -extfile "$1.ext" -out "$1.new" 2>/dev/null
  mv "$1.new" "$1.pem"
  rm -f "$1.csr" "$1.ext"
  echo "$folder/$1.pem"
}

if [ ! -e ca.pem ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7300 \
    -keyout ca.key -out ca.pem -subj "/CN=epithermal stations" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    2>/dev/null
fi
case "$broker" in
  *[!0-9.]*) name=DNS:$broker ;;
  *) name=IP:$broker ;;
esac
sign server "$broker" "subjectAltName=$name
extendedKeyUsage=serverAuth"
for station in "$@"; do
  case "$station" in
    *[!a-z0-9-]* | server | ca)
      echo "make-certs.sh: $station: a station's id has a-z, 0-9 and -" >&2
      exit 1
      ;;
  esac
  sign "$station" "$station" "extendedKeyUsage=clientAuth"
done
