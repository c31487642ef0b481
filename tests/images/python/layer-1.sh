apt-get update
apt-get install -y python3
useradd --create-home --uid 1500 --user-group app
groupadd --gid 1600 extra
usermod --append --groups extra app
