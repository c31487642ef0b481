//! Unpacked trees equal umoci's, file by file: type, mode, owner, size, time in nanoseconds, attributes, links and contents.
//!
//! Both are looked at by the same program, as root of the same user namespace (`rl unshare`), where umoci unpacks as root too: it
//! gives every file its owner, and the ids that both trees show are the image's. Of several layers, ours are mounted as a container's
//! root is, by overlayfs. Left out is what the two cannot have in common there: the times of directories that no layer lists, for which
//! umoci takes the moment; device nodes, which umoci cannot make there at all; and GNU's old sparse files, which it refuses (those are
//! tested with the reader, src/image/tar).

mod support;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use support::{Feature, Layout, Rl, images, require};

/// Prints a line for each file below a directory.
const LIST: &str = r#"
import hashlib, os, stat, sys
root = os.fsencode(sys.argv[1])
unlisted = {os.fsencode(name) for name in sys.argv[2:]}
names, lines = {}, []
def visit(path):
    st, where = os.lstat(path), os.path.relpath(path, root)
    mode, kind = stat.S_IMODE(st.st_mode), stat.filemode(st.st_mode)[0]
    facts = [kind, oct(mode), st.st_uid, st.st_gid, None if where in unlisted else st.st_mtime_ns]
    if kind == '-':
        with open(path, 'rb') as file:
            facts += [st.st_size, hashlib.sha256(file.read()).hexdigest()]
        # Some name of the same file: with all of them, the same one in both trees.
    if kind == 'l':
        facts.append(os.readlink(path))
    if kind != 'd':
        names.setdefault(st.st_ino, []).append(where)
        facts.append(st.st_ino)
    ours = (b'user.overlay.', b'user.rl.')
    attributes = [n for n in map(os.fsencode, os.listxattr(path, follow_symlinks=False)) if not n.startswith(ours)]
    facts.append(sorted((n, os.getxattr(path, n, follow_symlinks=False)) for n in attributes))
    lines.append((where, kind, facts))
    if kind == 'd':
        for name in os.listdir(path):
            visit(os.path.join(path, name))
visit(root)
for where, kind, facts in sorted(lines):
    if kind != 'd':
        facts[-2] = sorted(names[facts[-2]])
    print(where, facts)
"#;

/// The layers' directories in the store, lowest first, by what image-spec calls their chain ids.
fn unpacked(rl: &Rl, layout: &Path) -> Vec<PathBuf> {
    let json = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |digest: &Value| layout.join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"));
    let manifest = json(blob(&json(layout.join("index.json"))["manifests"][0]["digest"]));
    let config = json(blob(&manifest["config"]["digest"]));
    let maps: Vec<PathBuf> = fs::read_dir(rl.store().join("layers")).unwrap().map(|map| map.unwrap().path()).collect();
    let [map] = &maps[..] else { panic!("not one map: {maps:?}") };
    let mut chain: Option<String> = None;
    let mut layers = Vec::new();
    for diff_id in config["rootfs"]["diff_ids"].as_array().unwrap() {
        let diff_id = diff_id.as_str().unwrap();
        let id = match &chain {
            None => diff_id.to_string(),
            Some(below) => format!("sha256:{:x}", Sha256::digest(format!("{below} {diff_id}"))),
        };
        layers.push(map.join(id.trim_start_matches("sha256:")).join("root"));
        chain = Some(id);
    }
    layers
}

fn shell(rl: &Rl, script: &str, args: &[&str]) -> Vec<String> {
    let run = rl.cmd([&["unshare", "sh", "-euc", script, "sh"], args].concat()).ok();
    run.stdout().lines().map(String::from).collect()
}

/// Unpacks by both and compares; `unlisted` are directories whose times are nobody's.
#[track_caller]
fn equal(rl: &Rl, layout: &Path, unlisted: &[&str]) {
    let reference = format!("{}:latest", layout.display());
    // It fails where the image has no such program, which is after it has been unpacked.
    let run = rl.cmd(["run", "--rm", "--network", "none", &format!("oci:{reference}"), "/no/such/program"]);
    assert_eq!(run.status.code(), Some(127), "{run}");
    let bundle = rl.path("bundle").display().to_string();
    shell(rl, "umoci unpack --image \"$1\" \"$2\" >&2", &[&reference, &bundle]);
    let layers = unpacked(rl, layout);
    let top_first: Vec<String> = layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let script = r#"lower=$1 list=$2 at=$3; shift 3
        case $lower in *:*) mount -t overlay overlay -o "lowerdir=$lower,userxattr" "$at" ;; *) at=$lower ;; esac
        exec python3 -c "$list" "$at" "$@""#;
    let at = rl.path("merged");
    fs::create_dir(&at).unwrap();
    let (lower, at) = (top_first.join(":"), at.display().to_string());
    let ours = shell(rl, script, &[&[lower.as_str(), LIST, &at], unlisted].concat());
    let rootfs = format!("{bundle}/rootfs");
    let theirs = shell(rl, script, &[&[rootfs.as_str(), LIST, &at], unlisted].concat());
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let those: std::collections::BTreeSet<&String> = those.iter().collect();
        these.iter().filter(|line| !those.contains(line)).take(10).cloned().collect()
    };
    let (ours_only, theirs_only) = (only(&ours, &theirs), only(&theirs, &ours));
    shell(rl, "rm -rf \"$1\"", &[&bundle]);
    assert!(ours.len() > 10, "{ours:?}");
    assert_eq!(ours_only, theirs_only, "ours and umoci's");
}

#[test]
fn the_real_alpine_is_as_umoci_unpacks_it() {
    require!(Feature::Image("alpine"), Feature::Tool("umoci"), Feature::SubIds);
    let rl = Rl::new();
    equal(&rl, &without_devices(&rl, "alpine"), &[]);
}

#[test]
fn a_debian_of_several_layers_is_as_umoci_unpacks_it() {
    require!(Feature::Image("nginx"), Feature::Tool("umoci"), Feature::SubIds);
    let rl = Rl::new();
    equal(&rl, &without_devices(&rl, "nginx"), &[]);
}

/// A test image whose layers have lost their device nodes.
fn without_devices(rl: &Rl, name: &str) -> PathBuf {
    let script = r#"
import gzip, hashlib, json, os, sys, tarfile
source, target = sys.argv[1:]
blob = lambda where, digest: os.path.join(where, 'blobs', *digest.split(':'))
load = lambda path: json.load(open(path))
index = load(os.path.join(source, 'index.json'))
manifest = load(blob(source, index['manifests'][0]['digest']))
config = load(blob(source, manifest['config']['digest']))
os.makedirs(os.path.join(target, 'blobs/sha256'))
def put(data):
    digest = 'sha256:' + hashlib.sha256(data).hexdigest()
    open(blob(target, digest), 'wb').write(data)
    return {'digest': digest, 'size': len(data)}
for n, layer in enumerate(manifest['layers']):
    path = os.path.join(target, 'layer')
    with tarfile.open(blob(source, layer['digest'])) as old, tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as new:
        for member in old:
            if not member.isdev() or member.isfifo():
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
    data = open(path, 'rb').read()
    os.remove(path)
    layer.update(put(data), mediaType='application/vnd.oci.image.layer.v1.tar')
    config['rootfs']['diff_ids'][n] = layer['digest']
manifest['config'].update(put(json.dumps(config).encode()))
index['manifests'][0].update(put(json.dumps(manifest).encode()))
json.dump(index, open(os.path.join(target, 'index.json'), 'w'))
json.dump({'imageLayoutVersion': '1.0.0'}, open(os.path.join(target, 'oci-layout'), 'w'))
"#;
    let target = rl.path("layout");
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(images().join(name)).arg(&target);
    support::run(python).ok();
    target
}

/// Writes the awkward layers below a directory, as 0.tar, 1.tar and so on.
const AWKWARD: &str = r#"
import io, os, subprocess, sys, tarfile
os.chdir(sys.argv[1])
def layer(n, format=tarfile.PAX_FORMAT):
    return tarfile.open(f'{n}.tar', 'w', format=format, encoding='utf-8', errors='surrogateescape')
def add(tar, name, kind=tarfile.REGTYPE, data=b'', mode=0o644, uid=0, gid=0, mtime='1234567890.123456789', link='', pax={}):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode, info.uid, info.gid, info.linkname = kind, len(data), mode, uid, gid, link
    info.mtime, info.pax_headers = int(float(mtime)), dict(pax, mtime=mtime) if tar.format == tarfile.PAX_FORMAT else {}
    tar.addfile(info, io.BytesIO(data))
DIR, LINK, HARD, FIFO = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE
xattr = lambda name, value: {'SCHILY.xattr.' + name: value.decode('utf-8', 'surrogateescape')}
capability = b'\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
with layer(0) as tar:
    add(tar, '.', DIR, mode=0o755)
    add(tar, 'dir', DIR, mode=0o2751, uid=7, gid=8, mtime='1.000000001')
    add(tar, 'dir/setuid', data=b's', mode=0o6755, uid=3, gid=4)
    add(tar, 'dir/closed', data=b'closed', mode=0, uid=65534, gid=65534)
    add(tar, 'dir/read-only', DIR, mode=0o555)
    add(tar, 'dir/read-only/file', data=b'x', mode=0o444)
    add(tar, 'sticky', DIR, mode=0o1777, mtime='2.5')
    add(tar, 'empty')
    add(tar, 'before-1970', mtime='-1.5')
    add(tar, 'capable', data=b'c', mode=0o755, pax=xattr('security.capability', capability))
    add(tar, 'attributes', data=b'a', pax=xattr('user.one', b'1') | xattr('user.two', b'\0\xff=\n'))
    add(tar, 'directory-attributes', DIR, mode=0o755, pax=xattr('user.dir', b'yes'))
    add(tar, 'link', LINK, link='dir/setuid', mode=0o777, uid=5, gid=6, mtime='3.000000007')
    add(tar, 'dangling', LINK, link='/no/where/at all')
    add(tar, 'hard', HARD, link='dir/setuid')
    add(tar, 'absolute-hard', HARD, link='/hard')
    add(tar, 'hard-to-link', HARD, link='link')
    add(tar, 'fifo', FIFO, mode=0o620, uid=1, gid=2)
    add(tar, '/'.join(['deep'] * 60) + '/file', data=b'deep')
    add(tar, 'new\nline', data=b'n')
    add(tar, 'not utf-8 \udcff\udcfe', data=b'u')
    add(tar, 'with  blanks \u00e4\u20ac ', data=b'b')
    add(tar, 'n' * 255, data=b'l')
    add(tar, 'unlisted/sub/file', data=b'p')
    add(tar, 'twice', data=b'first', mode=0o600, uid=9)
    add(tar, 'twice', data=b'second', mode=0o640)
    add(tar, 'file-then-dir', data=b'f')
    add(tar, 'file-then-dir', DIR, mode=0o700)
    add(tar, 'file-then-dir/in', data=b'i')
    add(tar, 'link-then-file', LINK, link='empty')
    add(tar, 'link-then-file', data=b'a file now')
    add(tar, 'dir-twice', DIR, mode=0o700, uid=1)
    add(tar, 'dir-twice/in', data=b'i')
    add(tar, 'dir-twice', DIR, mode=0o711, uid=2, mtime='5.5')
    add(tar, 'gone', data=b'g')
    add(tar, 'opaque', DIR, mode=0o750)
    add(tar, 'opaque/below', data=b'below')
    add(tar, 'big-id', data=b'i', uid=65533, gid=60000)
    add(tar, 'large', data=bytes(range(256)) * 5000)
with layer(1, tarfile.GNU_FORMAT) as tar:
    long = '/'.join(['gnu-long-name'] * 12)
    for n in range(1, 13):
        add(tar, '/'.join(['gnu-long-name'] * n), DIR, mode=0o755)
    add(tar, long + '/' + 'x' * 120, data=b'long')
    add(tar, 'gnu-long-link', LINK, link='y' * 300)
    add(tar, 'gnu-hard', HARD, link=long + '/' + 'x' * 120)
with layer(2) as tar:
    add(tar, '.wh.gone')
    add(tar, 'opaque', DIR, mode=0o751, mtime='9')
    add(tar, 'opaque/.wh..wh..opq')
    add(tar, 'opaque/above', data=b'above')
    add(tar, 'dir', DIR, mode=0o2755, uid=8, gid=7, mtime='8.25')
    add(tar, 'dir/.wh.closed')
    add(tar, 'sticky', DIR, mode=0o1777, mtime='2.5')
    add(tar, 'sticky/new', data=b'n')
    add(tar, 'empty', DIR, mode=0o700)
    add(tar, 'file-then-dir', data=b'a file again')
os.mkdir('sparse')
with open('sparse/holes', 'wb') as file:
    for offset in (0, 300000, 999999):
        file.seek(offset)
        file.write(b'data' * 100)
    file.truncate(3000000)
with open('sparse/all-hole', 'wb') as file:
    file.truncate(100000)
os.utime('sparse/holes', ns=(0, 1111111111222222222)); os.utime('sparse/all-hole', ns=(0, 5)); os.utime('sparse', ns=(0, 7))
forms = [['--format=posix', '--sparse-version=0.0'], ['--format=posix', '--sparse-version=0.1'],
         ['--format=posix', '--sparse-version=1.0']]
for n, form in enumerate(forms):
    subprocess.run(['tar', '--create', '--sparse', '--owner=0', '--group=0', '--numeric-owner', f'--file={3 + n}.tar', *form,
                    f'--transform=s/^sparse/sparse-{n}/', 'sparse'], check=True)
"#;

#[test]
fn an_awkward_image_is_as_umoci_unpacks_it() {
    require!(Feature::Tool("umoci"), Feature::Tool("python3"), Feature::SubIds);
    let rl = Rl::new();
    let layers = rl.path("layers");
    fs::create_dir(&layers).unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", AWKWARD]).arg(&layers);
    support::run(python).ok();
    let mut layout = Layout::new(rl.path("layout"));
    for n in 0..6 {
        layout = layout.layer(&fs::read(layers.join(format!("{n}.tar"))).unwrap());
    }
    layout.config(json!({})).write();
    let mut unlisted: Vec<String> = (1..=60).map(|n| ["deep"; 60][..n].join("/")).collect();
    unlisted.extend(["unlisted".into(), "unlisted/sub".into(), ".".into()]);
    let unlisted: Vec<&str> = unlisted.iter().map(String::as_str).collect();
    equal(&rl, &rl.path("layout"), &unlisted);
}

#[test]
fn device_nodes_become_placeholders_that_nobody_can_open() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let layer =
        support::TarBuilder::new().entry(b'3', "node", 0o666, (1, 2), "", b"").entry(b'4', "disk", 0o660, (0, 6), "", b"");
    let layout = Layout::on(&images().join("alpine"), rl.path("layout")).layer(&layer.finish());
    let image = layout.write();
    let script = "stat -c '%n %F %a %u:%g %s' node disk";
    let run = rl.cmd(["run", "--rm", &image, "sh", "-c", script]).ok();
    assert_eq!(run.stdout(), "node regular empty file 0 1:2 0\ndisk regular empty file 0 0:6 0");
}
