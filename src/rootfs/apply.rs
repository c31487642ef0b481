//! Applies a plan in Init's mount namespace: one loop over the steps, everything by descriptor (THREATS.md, "the one design rule").
//! Modes are meant as written: the caller's umask is out of force.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, mkdirat};

use super::dev::{self, Dev, Wanted};
use super::plan::MountStep;
use super::{fill, inroot};
use crate::error::Advise;
use crate::host::facts;
use crate::sys::fs::{CWD, fs_magic, open_beneath, open_in_root, proc_path};
use crate::sys::mount::{self, FsContext, attr};
use crate::sys::process;

const PROC_SUPER_MAGIC: i64 = 0x9fa0;
const SYSFS_MAGIC: i64 = 0x6265_6572;
const KERNEL_FS: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

/// The finished root, attached but not yet entered.
pub struct Rootfs {
    pub root: OwnedFd,
    pub dev: Dev,
}

/// A root being built: mounts that later steps need by descriptor.
pub struct Builder {
    /// Who the caller is here, where that is not who builds: the second to try what the host lets one open.
    caller: Option<(u32, u32)>,
    /// The container's directory on the host, where the root is attached.
    directory: OwnedFd,
    /// What holds the overlays' upper and work directories: that directory, or a tmpfs.
    state: OwnedFd,
    root: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
    dev: Option<Dev>,
    /// An empty read-only directory to hide directories with, made once and cloned.
    empty: Option<OwnedFd>,
    /// The same for files: the host's /dev/null.
    null: Option<OwnedFd>,
}

impl Builder {
    /// Begins; `directory` is the container's own on the host. `caller` has the caller's ids in this namespace, where they are not ours.
    pub fn new(directory: &Path, caller: Option<(u32, u32)>) -> Result<Builder> {
        let directory = open_path(directory, caller)?;
        let state = directory.try_clone()?;
        Ok(Builder { caller, directory, state, root: None, proc: None, sys: None, dev: None, empty: None, null: None })
    }

    /// Executes steps, in order.
    pub fn apply(&mut self, steps: &[MountStep]) -> Result<()> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    /// The root, complete.
    pub fn finish(self) -> Result<Rootfs> {
        match (self.root, self.dev) {
            (Some(root), Some(dev)) => Ok(Rootfs { root, dev }),
            _ => bail!("the plan has no root"),
        }
    }

    /// The root as far as it is built.
    pub fn into_root(self) -> Result<OwnedFd> {
        self.root.context("the plan has no root")
    }

    fn step(&mut self, step: &MountStep) -> Result<()> {
        match step {
            MountStep::UpperOnTmpfs => {
                self.state = tmpfs(&[("mode", "755")], 0).context("cannot mount a tmpfs for the container's changes")?;
                // overlayfs wants its upper directory in a mount of this namespace.
                Ok(mount::attach(self.state.as_fd(), self.directory.as_fd())?)
            }
            MountStep::Overlay { at, lowers, upper, mode, volatile, optional } => {
                let result = self.overlay(at, lowers, upper, *mode, *volatile);
                if *optional { Ok(()) } else { result.with_context(|| format!("cannot mount {} as an overlay", at.display())) }
            }
            MountStep::Skeleton => {
                let root = tmpfs(&[("mode", "755")], 0).context("cannot mount the root")?;
                self.attach_root(root)
            }
            MountStep::Directory { at, mode } => self.skeleton_directory(at, *mode),
            MountStep::Symlink { at, target } => self.skeleton_symlink(at, target),
            MountStep::File { at, source } => self.host_file(at, source),
            MountStep::Proc { fresh } => self.proc(*fresh).context("cannot mount /proc"),
            MountStep::Sys { fresh } => self.sys(*fresh).context("cannot mount /sys"),
            MountStep::Cgroup { fresh, writable } => self.cgroup(*fresh, *writable).context("cannot mount /sys/fs/cgroup"),
            MountStep::Dev { devices, tty_group, shm_size, fresh_mqueue } => {
                let target = self.plain_directory("dev")?;
                let wanted = Wanted { devices, tty_group: *tty_group, shm_size: *shm_size, fresh_mqueue: *fresh_mqueue };
                self.dev = Some(dev::setup(target.as_fd(), &wanted)?);
                Ok(())
            }
            MountStep::Etc { files } => self.etc(files).context("cannot set up /etc"),
            MountStep::Bind { at, source, recursive, attrs, propagation, fill } => self
                .bind(at, source, *recursive, *attrs, *propagation, *fill)
                .with_context(|| format!("cannot mount {} on {}", source.display(), at.display())),
            MountStep::Tmpfs { at, options, attrs } => {
                let options: Vec<(&str, &str)> = options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let mounted = tmpfs(&options, *attrs).and_then(|tmpfs| self.attach_in_root(tmpfs, at));
                mounted.with_context(|| format!("cannot mount a tmpfs on {}", at.display()))
            }
            MountStep::ReadOnly { at } => self.read_only(at).with_context(|| format!("cannot make {at} read-only")),
            MountStep::Mask { at } => self.mask(at).with_context(|| format!("cannot hide {at}")),
            MountStep::MountPoints => self.mount_points().context("cannot make places to mount on"),
            MountStep::Adopt => self.adopt().context("cannot take over the root"),
            MountStep::RootReadOnly => Ok(mount::set_attr(self.root()?, attr::RDONLY, 0, false)?),
        }
    }

    fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(|root| root.as_fd()).context("the plan mounts before there is a root")
    }

    /// The root shows where the container's directory was; from here on it is only known by descriptor.
    fn attach_root(&mut self, root: OwnedFd) -> Result<()> {
        mount::attach(root.as_fd(), self.directory.as_fd()).context("cannot attach the root")?;
        self.root = Some(root);
        Ok(())
    }

    fn overlay(&mut self, at: &Path, lowers: &[PathBuf], name: &str, mode: u32, volatile: bool) -> Result<()> {
        let upper = self.state_directory("upper", name, mode)?;
        let work = self.state_directory("work", name, 0o700)?;
        let lowers = lowers.iter().map(|lower| open_path(lower, self.caller)).collect::<Result<Vec<_>>>()?;
        let is_root = at == Path::new("/");
        if facts::kernel() < (6, 5) {
            let target = if is_root { self.directory.try_clone()? } else { inroot::directory(self.root()?, at)? };
            as_caller(self.caller, || overlay_by_string(&lowers, upper.as_fd(), work.as_fd(), volatile, target.as_fd()))??;
            if is_root {
                // The mount lies over the directory: only a fresh walk arrives on top of it.
                let root = open_path(Path::new(&std::fs::read_link(proc_path(self.directory.as_fd()).to_str()?)?), self.caller)?;
                self.root = Some(root);
            }
            return Ok(());
        }
        // By the mounter's ids overlayfs reaches what lies below, ever after: a directory of the caller's may be closed to all others.
        let overlay = as_caller(self.caller, || overlay(&lowers, upper.as_fd(), work.as_fd(), volatile))??;
        if is_root { self.attach_root(overlay) } else { self.attach_in_root(overlay, at) }
    }

    /// `upper.NAME` or `work.NAME`, made with the mode that the merged directory is to have.
    fn state_directory(&self, kind: &str, name: &str, mode: u32) -> Result<OwnedFd> {
        let name = c(&format!("{kind}.{name}"));
        open_or_make(self.state.as_fd(), &name, libc::O_RDONLY | libc::O_DIRECTORY, mode)
    }

    fn skeleton_directory(&self, at: &Path, mode: u32) -> Result<()> {
        let (parent, name) = self.parent_of(at)?;
        make_directory(parent.as_fd(), &name, mode).with_context(|| format!("cannot create {}", at.display()))
    }

    fn skeleton_symlink(&self, at: &Path, target: &Path) -> Result<()> {
        let (parent, name) = self.parent_of(at)?;
        nix::unistd::symlinkat(target, &parent, name.as_c_str()).with_context(|| format!("cannot create {}", at.display()))
    }

    fn parent_of(&self, at: &Path) -> Result<(OwnedFd, CString)> {
        let parent = inroot::directory(self.root()?, at.parent().unwrap_or(Path::new("/")))?;
        let name = inroot::c_path(Path::new(at.file_name().context("a path without a name")?))?;
        Ok((parent, name))
    }

    /// One file beside directories that are mounts. Unreadable ones are left out, as an empty place.
    fn host_file(&self, at: &Path, source: &Path) -> Result<()> {
        let target = inroot::file(self.root()?, at)?;
        let Ok(tree) = mount::clone_tree(CWD, &inroot::c_path(source)?, false) else { return Ok(()) };
        if inroot::file_type(tree.as_fd())? != SFlag::S_IFREG {
            return Ok(());
        }
        mount::set_attr(tree.as_fd(), attr::RDONLY | attr::NODEV, mount::propagation::PRIVATE, false)?;
        mount::attach(tree.as_fd(), target.as_fd()).with_context(|| format!("cannot show {}", source.display()))
    }

    /// `/proc`, `/sys` or `/dev` of the image: a real directory, or we would mount wherever a symlink points (CVE-2023-27561).
    fn plain_directory(&self, name: &str) -> Result<OwnedFd> {
        let root = self.root()?;
        let name = c(name);
        open_or_make(root, &name, libc::O_PATH | libc::O_DIRECTORY, 0o755)
            .with_context(|| format!("/{} of the image is not a directory", name.to_string_lossy()))
    }

    fn mount_points(&self) -> Result<()> {
        for name in ["proc", "sys", "dev"] {
            self.plain_directory(name)?;
        }
        for name in ["hosts", "hostname", "resolv.conf"] {
            inroot::file(self.root()?, &Path::new("/etc").join(name))?;
        }
        Ok(())
    }

    /// What was mounted from U is locked where it is: it cannot be pivoted into. A copy of the tree can, and in it the mounts' flags
    /// and places stay locked.
    fn adopt(&mut self) -> Result<()> {
        let tree = mount::clone_tree(self.directory.as_fd(), c"", true)?;
        self.attach_root(tree)
    }

    fn proc(&mut self, fresh: bool) -> Result<()> {
        let target = self.plain_directory("proc")?;
        let tree = if fresh {
            FsContext::open(c"proc").and_then(|context| context.mount(KERNEL_FS)).hint(
                || "this host shows only a part of its /proc (rl runs inside a container?): rl run --pid host shares it instead",
            )?
        } else {
            private_clone(c"/proc", 0)?
        };
        mount::attach(tree.as_fd(), target.as_fd())?;
        self.proc = Some(tree);
        Ok(())
    }

    fn sys(&mut self, fresh: bool) -> Result<()> {
        let target = self.plain_directory("sys")?;
        let attrs = KERNEL_FS | attr::RDONLY;
        let tree = match fresh {
            true => FsContext::open(c"sysfs").and_then(|context| context.mount(attrs)),
            false => Err(io::Error::from_raw_os_error(libc::EPERM)),
        };
        // Inside another container only a part of /sys may be visible; then that part it is.
        let tree = match tree {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => private_clone(c"/sys", attrs)?,
            other => other?,
        };
        mount::attach(tree.as_fd(), target.as_fd())?;
        self.sys = Some(tree);
        Ok(())
    }

    fn cgroup(&self, fresh: bool, writable: bool) -> Result<()> {
        let sys = self.sys.as_ref().context("no /sys")?;
        let Ok(target) = open_beneath(sys.as_fd(), c"fs/cgroup", libc::O_PATH | libc::O_DIRECTORY, 0) else { return Ok(()) };
        let attrs = if writable { KERNEL_FS } else { KERNEL_FS | attr::RDONLY };
        let tree = if fresh {
            FsContext::open(c"cgroup2").and_then(|context| context.mount(attrs))
        } else {
            private_clone(c"/sys/fs/cgroup", attrs)
        };
        match tree {
            Ok(tree) => Ok(mount::attach(tree.as_fd(), target.as_fd())?),
            // No cgroup v2 here, or none that may be shown: /sys/fs/cgroup stays empty.
            Err(_) => Ok(()),
        }
    }

    /// Files of /dev's tmpfs without a name there once they are bound (before, the kernel wants one): a read-only or full root does not
    /// matter. (Not of a tmpfs of their own: kernels before 6.15 clone nothing from a mount that is not attached.)
    fn etc(&self, files: &[(&'static str, String)]) -> Result<()> {
        let dev = &self.dev.as_ref().context("no /dev")?.mount;
        for (name, text) in files {
            let temporary = c(&format!(".etc-{name}"));
            let file = open_beneath(dev.as_fd(), &temporary, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY, 0o644)?;
            std::io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes())?;
            let target = inroot::file(self.root()?, &Path::new("/etc").join(name)).with_context(|| format!("/etc/{name}"))?;
            let tree = mount::clone_tree(dev.as_fd(), &temporary, false)?;
            mount::set_attr(tree.as_fd(), attr::NODEV | attr::NOEXEC, 0, false)?;
            mount::attach(tree.as_fd(), target.as_fd()).with_context(|| format!("/etc/{name}"))?;
            nix::unistd::unlinkat(dev, temporary.as_c_str(), nix::unistd::UnlinkatFlags::NoRemoveDir)?;
        }
        Ok(())
    }

    fn bind(&self, at: &Path, source: &Path, recursive: bool, attrs: u64, propagation: u64, fill: bool) -> Result<()> {
        let source = open_path(source, self.caller)?;
        let is_directory = inroot::file_type(source.as_fd())? == SFlag::S_IFDIR;
        let root = self.root()?;
        let target = if is_directory { inroot::directory(root, at)? } else { inroot::file(root, at)? };
        if matches!(fs_magic(target.as_fd())?, PROC_SUPER_MAGIC | SYSFS_MAGIC) && !at.starts_with("/sys") {
            bail!("the path leads into a file system of the kernel");
        }
        if is_directory != (inroot::file_type(target.as_fd())? == SFlag::S_IFDIR) {
            bail!("one is a directory and the other is not");
        }
        if fill {
            fill::from_image(target.as_fd(), source.as_fd()).context("cannot fill the new volume from the image")?;
        }
        let tree = mount::clone_tree(source.as_fd(), c"", recursive)?;
        mount::set_attr(tree.as_fd(), attrs, propagation, true)?;
        Ok(mount::attach(tree.as_fd(), target.as_fd())?)
    }

    fn attach_in_root(&self, tree: OwnedFd, at: &Path) -> Result<()> {
        let target = inroot::directory(self.root()?, at)?;
        if matches!(fs_magic(target.as_fd())?, PROC_SUPER_MAGIC | SYSFS_MAGIC) {
            bail!("the path leads into a file system of the kernel");
        }
        Ok(mount::attach(tree.as_fd(), target.as_fd())?)
    }

    /// `/proc/x` or `/sys/x` as the mount's descriptor and the path below it: nothing of the image lies on the way.
    fn kernel_path<'a>(&self, path: &'a str) -> Result<Option<(BorrowedFd<'_>, &'a str)>> {
        let (tree, rest) = match (path.strip_prefix("/proc/"), path.strip_prefix("/sys/")) {
            (Some(rest), _) => (&self.proc, rest),
            (_, Some(rest)) => (&self.sys, rest),
            _ => bail!("only paths below /proc and /sys can be masked"),
        };
        Ok(tree.as_ref().map(|tree| (tree.as_fd(), rest)))
    }

    fn read_only(&self, path: &str) -> Result<()> {
        let Some((tree, rest)) = self.kernel_path(path)? else { return Ok(()) };
        let Some(target) = existing(tree, rest)? else { return Ok(()) };
        let clone = mount::clone_tree(target.as_fd(), c"", true)?;
        mount::set_attr(clone.as_fd(), KERNEL_FS | attr::RDONLY, 0, true)?;
        Ok(mount::attach(clone.as_fd(), target.as_fd())?)
    }

    fn mask(&mut self, path: &str) -> Result<()> {
        let Some((head, tail)) = path.split_once('*') else { return self.mask_one(path) };
        for number in 0.. {
            let Some((tree, stem)) = self.kernel_path(head)? else { break };
            if existing(tree, &format!("{stem}{number}"))?.is_none() {
                break;
            }
            self.mask_one(&format!("{head}{number}{tail}"))?;
        }
        Ok(())
    }

    fn mask_one(&mut self, path: &str) -> Result<()> {
        let Some((tree, rest)) = self.kernel_path(path)? else { return Ok(()) };
        let Some(target) = existing(tree, rest)? else { return Ok(()) };
        let is_directory = inroot::file_type(target.as_fd())? == SFlag::S_IFDIR;
        let cover = if is_directory { &mut self.empty } else { &mut self.null };
        if let Some(cover) = cover {
            return Ok(mount::attach(mount::clone_tree(cover.as_fd(), c"", false)?.as_fd(), target.as_fd())?);
        }
        let made = match is_directory {
            true => tmpfs(&[("mode", "755"), ("size", "0"), ("nr_inodes", "2")], KERNEL_FS | attr::RDONLY)?,
            false => dev::null()?,
        };
        mount::attach(made.as_fd(), target.as_fd())?;
        *cover = Some(made);
        Ok(())
    }
}

/// O_PATH on a path of the host, as the caller named it. Where root of this namespace may not pass, its `caller` may.
fn open_path(path: &Path, caller: Option<(u32, u32)>) -> Result<OwnedFd> {
    let open = || nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    let opened = match open() {
        Err(nix::errno::Errno::EACCES) if caller.is_some() => as_caller(caller, open)?,
        opened => opened,
    };
    opened.with_context(|| format!("cannot open {}", path.display()))
}

/// Works with the `caller`'s ids on files, and all the capabilities there are.
fn as_caller<T>(caller: Option<(u32, u32)>, work: impl FnOnce() -> T) -> Result<T> {
    let Some((uid, gid)) = caller else { return Ok(work()) };
    let (own_uid, own_gid) = process::set_fs_ids(uid, gid).context("cannot open files as the caller")?;
    let done = work();
    process::set_fs_ids(own_uid, own_gid).context("cannot open files as container root again")?;
    Ok(done)
}

fn existing(tree: BorrowedFd, path: &str) -> io::Result<Option<OwnedFd>> {
    match open_in_root(tree, &c(path), libc::O_PATH, 0) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn c(text: &str) -> CString {
    CString::new(text.replace('\0', "")).expect("NULs are removed")
}

/// mkdirat; one that exists keeps its own mode.
fn make_directory(parent: BorrowedFd, name: &CStr, mode: u32) -> Result<()> {
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a directory, mostly one that is there.
fn open_or_make(parent: BorrowedFd, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    match open_beneath(parent, name, flags, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directory(parent, name, mode)?;
            Ok(open_beneath(parent, name, flags, 0)?)
        }
        opened => Ok(opened?),
    }
}

fn tmpfs(options: &[(&str, &str)], attrs: u64) -> Result<OwnedFd> {
    let context = FsContext::open(c"tmpfs")?;
    for (key, value) in options {
        context.string(&c(key), &c(value)).with_context(|| format!("tmpfs option {key}={value}"))?;
    }
    Ok(context.mount(attrs)?)
}

fn private_clone(path: &CStr, attrs: u64) -> io::Result<OwnedFd> {
    let tree = mount::clone_tree(CWD, path, true)?;
    mount::set_attr(tree.as_fd(), attrs, mount::propagation::PRIVATE, true)?;
    Ok(tree)
}

/// A detached overlay. Paths go as /proc/self/fd/N: no length limit matters and nothing is resolved twice.
fn overlay(lowers: &[OwnedFd], upper: BorrowedFd, work: BorrowedFd, volatile: bool) -> Result<OwnedFd> {
    let context = FsContext::open(c"overlay").context("no overlayfs for users: needs Linux 5.11")?;
    for lower in lowers {
        context.string(c"lowerdir+", &proc_path(lower.as_fd()))?;
    }
    context.string(c"upperdir", &proc_path(upper))?;
    context.string(c"workdir", &proc_path(work))?;
    context.flag(c"userxattr")?;
    if volatile {
        context.flag(c"volatile")?;
    }
    Ok(context.mount(0)?)
}

/// The same for kernels before 6.5, whose only interface is one page of options (mount(2)): room for about 200 layers.
fn overlay_by_string(lowers: &[OwnedFd], upper: BorrowedFd, work: BorrowedFd, volatile: bool, target: BorrowedFd) -> Result<()> {
    let lowers: Vec<String> = lowers.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect();
    let mut data = format!(
        "lowerdir={},upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{},userxattr",
        lowers.join(":"),
        upper.as_raw_fd(),
        work.as_raw_fd()
    );
    if volatile {
        data += ",volatile";
    }
    let target = proc_path(target);
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some(c"overlay"), target.as_c_str(), Some(c"overlay"), flags, Some(c(&data).as_c_str()))
        .context("cannot mount an overlay (users may from Linux 5.11 on)")
}
