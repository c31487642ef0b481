apt-get update
apt-get install -y redis-server
