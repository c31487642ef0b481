# Debian roots from this machine's own apt sources, by mmdebstrap; sourced by tests/images/build and tests/vm/image.

# The suite of this machine, such as bookworm.
debian_suite() { (. /etc/os-release && echo "$VERSION_CODENAME"); }

# sources.list lines for a suite: this machine's, or, of another suite, that suite on the same mirror.
debian_sources() {
    local wanted=$1 here
    here=$(debian_suite)
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
        awk -v wanted="$wanted" -v here="$here" '
            $3 != "main" || $2 !~ "^" here "(-updates|-security)?$" { next }
            wanted == here || $2 == here { sub("^" here, wanted, $2); print "deb", $1, $2, $3 }'
}

# debian_root SUITE DIR [MMDEBSTRAP OPTION…]: the smallest Debian with apt, without documentation and translations.
debian_root() {
    local suite=$1 dir=$2
    shift 2
    debian_sources "$suite" | mmdebstrap --quiet --variant=minbase --format=directory \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
        --customize-hook=': >"$1/etc/resolv.conf"; echo debian >"$1/etc/hostname"' \
        "$@" "$suite" "$dir" -
}
