# The server and psql. No cluster is made; LLVM, only for its JIT, and locale sources are left out.
cat >/etc/dpkg/dpkg.cfg.d/slim <<END
path-exclude=/usr/lib/*/libLLVM*
path-exclude=/usr/lib/*/libz3*
path-exclude=/usr/lib/postgresql/*/lib/llvmjit*
path-exclude=/usr/lib/postgresql/*/lib/bitcode/*
path-exclude=/usr/share/i18n/*
END
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
apt-get update
apt-get install -y postgresql
ln -s /usr/lib/postgresql/*/bin /usr/lib/postgresql/bin
