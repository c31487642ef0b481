# An application's first version, which the next layer replaces.
mkdir -p /srv/app/static /srv/app/cache/deep
echo old >/srv/app/old.py
echo old >/srv/app/static/old.css
echo old >/srv/app/cache/deep/old
cp /mnt/files/app.py /srv/app/app.py
chown -R app:app /srv/app
