#!/bin/sh
# Create a certificate authority, the broker's certificate and one certificate per station.
#
#   make-certs.sh FOLDER BROKER-NAME STATION...
#
# Existing files are kept, so stations can be added later. Do not store ca.key on the broker.
# A station needs ca.pem, STATION.pem and STATION.key; the broker ca.pem, server.pem and server.key.
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

# sign NAME SUBJECT EXTENSIONS: create a key and a certificate signed by the authority
sign() {
  [ ! -e "$1.pem" ] || return 0
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$1.key" -subj "/CN=$2" -out "$1.csr" 2>/dev/null
  # Python 3.13 and newer verify the two identifiers of RFC 5280 too
  printf '%s\n' "$3" subjectKeyIdentifier=hash authorityKeyIdentifier=keyid >"$1.ext"
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
      echo "make-certs.sh: $station: a station id may contain only a-z, 0-9 and -" >&2
      exit 1
      ;;
  esac
  sign "$station" "$station" "extendedKeyUsage=clientAuth"
done
