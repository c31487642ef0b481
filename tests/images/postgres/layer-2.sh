# The home that the package made is replaced: an opaque directory.
install -m 755 /mnt/files/docker-entrypoint.sh /usr/local/bin/
rm -r /var/lib/postgresql
install -d -o postgres -g postgres -m 700 /var/lib/postgresql /var/lib/postgresql/data
install -d -o postgres -g postgres -m 3777 /run/postgresql
