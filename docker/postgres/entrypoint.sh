#!/bin/sh
# Makes the database on the first start, sets the password at every start, then becomes the server.
#
# The cluster is made beside its place and moved there whole: a container killed at any instant
# leaves either no cluster or a complete one. The password goes through stdin, never argv.
set -eu

: "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"
home=/var/lib/postgresql
data=$home/data
major=17
quoted=$(printf '%s' "$POSTGRES_PASSWORD" | sed "s/'/''/g")

if [ ! -e "$data" ]; then
    rm -rf "$home/new"
    initdb --pgdata="$home/new" --username=postgres --auth=peer --encoding=UTF8 --locale=C.UTF-8
    postgres --single -D "$home/new" postgres <<SQL
CREATE ROLE app LOGIN
CREATE DATABASE app OWNER app
SQL
    sync
    mv "$home/new" "$data"
fi

found=$(cat "$data/PG_VERSION")
if [ "$found" != "$major" ]; then
    echo "the data is of PostgreSQL $found, this image has $major: dump it there, restore it here" >&2
    exit 1
fi

postgres --single -D "$data" postgres >/dev/null <<SQL
ALTER ROLE app PASSWORD '$quoted'
SQL

exec postgres -D "$data" -c listen_addresses='*' -c hba_file=/etc/postgresql/pg_hba.conf
