#!/bin/bash
# As the official image's: starts as root, gives the data to postgres, becomes postgres, makes the cluster if there is none.
set -e
if [ "$1" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$PGDATA"
        chmod 700 "$PGDATA"
        find "$PGDATA" \! -user postgres -exec chown postgres:postgres '{}' +
        find /var/run/postgresql \! -user postgres -exec chown postgres:postgres '{}' +
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        initdb --auth=trust --no-sync
        echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
        echo "host all all all trust" >>"$PGDATA/pg_hba.conf"
    fi
fi
exec "$@"
