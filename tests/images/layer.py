#!/usr/bin/env python3
"""Turns directory trees into OCI image layouts.

    layer.py layer TREE OUT.tar.gz          a tree, or the upper directory of an overlay mount, as one layer
    layer.py layout DIR TAG CONFIG LAYER…   an image of these layers, lowest first; CONFIG is its config as JSON

An overlay's own marks become those of the OCI image spec: a 0:0 character device becomes `.wh.NAME`, the xattr
trusted.overlay.opaque an entry `.wh..wh..opq`. Entries are sorted and the gzip header has no time, so that the same tree
gives the same digest. Blobs are hard-linked where possible: images that share a layer share its file.
"""
import gzip, hashlib, json, os, shutil, stat, sys, tarfile

def xattrs(path):
    """Those that belong to the image (file capabilities), in the form of PAX headers."""
    return {"SCHILY.xattr." + n: os.getxattr(path, n, follow_symlinks=False).decode("utf-8", "surrogateescape")
            for n in os.listxattr(path, follow_symlinks=False) if n.startswith(("security.capability", "user."))}

def entries(tree):
    """Paths below `tree`, each directory before its contents."""
    for directory, dirs, files in os.walk(tree):
        dirs.sort()
        # os.walk counts a link to a directory among the directories.
        yield from (os.path.join(directory, n) for n in sorted(dirs + files))

def is_opaque(path):
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False

def mark(tar, name):
    tar.addfile(tarfile.TarInfo(name))

def write_layer(tree, out):
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as z, \
            tarfile.open(fileobj=z, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in entries(tree):
            st, name = os.lstat(path), os.path.relpath(path, tree)
            if stat.S_ISCHR(st.st_mode) and st.st_rdev == 0:
                mark(tar, os.path.join(os.path.dirname(name), ".wh." + os.path.basename(name)))
                continue
            if stat.S_ISSOCK(st.st_mode):
                continue
            info = tar.gettarinfo(path, name)
            info.mtime, info.uname, info.gname = int(info.mtime), "", ""
            info.pax_headers = xattrs(path)
            if info.isreg():
                with open(path, "rb") as f:
                    tar.addfile(info, f)
            else:
                tar.addfile(info)
            if info.isdir() and is_opaque(path):
                mark(tar, os.path.join(name, ".wh..wh..opq"))

def sha256(stream):
    digest = hashlib.sha256()
    while part := stream.read(1 << 20):
        digest.update(part)
    return "sha256:" + digest.hexdigest()

class Layout:
    def __init__(self, directory):
        self.directory = directory
        os.makedirs(os.path.join(directory, "blobs/sha256"))

    def descriptor(self, kind, digest, size):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": size}

    def blob_path(self, digest):
        return os.path.join(self.directory, "blobs", *digest.split(":"))

    def add_file(self, kind, path):
        with open(path, "rb") as f:
            digest = sha256(f)
        try:
            os.link(path, self.blob_path(digest))
        except OSError:
            shutil.copyfile(path, self.blob_path(digest))
        return self.descriptor(kind, digest, os.path.getsize(path))

    def add_json(self, kind, value):
        data = json.dumps(value, indent=1).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(self.blob_path(digest), "wb") as f:
            f.write(data)
        return self.descriptor(kind, digest, len(data))

    def finish(self, tag, manifest):
        manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
        for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                            ("index.json", {"schemaVersion": 2, "manifests": [manifest]})):
            with open(os.path.join(self.directory, name), "w") as f:
                json.dump(value, f)

def write_layout(directory, tag, config, layers):
    layout = Layout(directory)
    diff_ids = []
    for layer in layers:
        with gzip.open(layer) as f:
            diff_ids.append(sha256(f))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {"architecture": machine, "os": "linux", "created": "1970-01-01T00:00:00Z", "config": config,
              "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [{"created_by": "tests/images"} for _ in layers]}
    layout.finish(tag, layout.add_json("manifest.v1+json", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layout.add_json("config.v1+json", config),
        "layers": [layout.add_file("layer.v1.tar+gzip", p) for p in layers]}))

match sys.argv[1:]:
    case ["layer", tree, out]:
        write_layer(tree, out)
    case ["layout", directory, tag, config, *layers]:
        with open(config) as f:
            write_layout(directory, tag, json.load(f), layers)
    case _:
        sys.exit(__doc__)
