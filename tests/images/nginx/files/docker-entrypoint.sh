#!/bin/sh
set -e
echo "$0: ready to start nginx" >&2
exec "$@"
