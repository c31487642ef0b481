# For benches/pull: what developers install, 75,000 files, most of them small. No test runs it.
apt-get update
apt-get install -qq -y --no-install-recommends git golang-src libboost-dev libpython3-dev nodejs npm python3-django ruby
