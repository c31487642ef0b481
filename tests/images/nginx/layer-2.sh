# As the official image: logs to the container's stdout and stderr; and a page of its own.
rm -r /var/www/html
mkdir /var/www/html
echo 'it works' >/var/www/html/index.html
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
install -m 755 /mnt/files/docker-entrypoint.sh /
