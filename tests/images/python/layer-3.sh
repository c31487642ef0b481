# Whiteouts: of a file (old.py), of a directory (cache), and an opaque directory (static holds new.css only).
cd /srv/app
rm -r old.py cache static
mkdir static
echo new >static/new.css
chown -R app:app .
