#!/bin/sh
# Print a signed command: sign-command.sh KEY.pem STATION VERB [ARGS] [PREFIX] | mosquitto_pub -s -q 1 -t ...
# ARGS is a JSON object, for example '{"first":120,"last":168}' for republish.
# Create the key: openssl genpkey -algorithm ed25519 -out command.pem
# Export the station's public key: openssl pkey -in command.pem -pubout -out command.pub
set -eu
if [ $# -lt 3 ]; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
fi
key=$1 station=$2 verb=$3 args=
case "${4:-}" in
  "{"*) args=",\"args\":$4" prefix=${5:-crns/v1} ;;
  *) prefix=${4:-crns/v1} ;;
esac
topic="$prefix/$station/cmd/$verb"
nonce=$(openssl rand -hex 16)
expires=$(date -u -d '+10 minutes' +%Y-%m-%dT%H:%M:%SZ)
body="{\"station\":\"$station\",\"verb\":\"$verb\",\"nonce\":\"$nonce\",\"expires\":\"$expires\"$args}"
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT
printf 'epithermal-command-v1\n%s\n%s' "$topic" "$body" >"$scratch"
signature=$(openssl pkeyutl -sign -rawin -inkey "$key" -in "$scratch" | base64 -w0)
quoted=$(printf %s "$body" | sed 's/"/\\"/g')
printf '{"v":1,"body":"%s","sig":"%s"}\n' "$quoted" "$signature"
