install -m 755 /mnt/files/docker-entrypoint.sh /usr/local/bin/
install -d -o redis -g redis /data
