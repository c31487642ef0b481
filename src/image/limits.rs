//! How much of a hostile archive is taken before it is refused (THREATS.md, "Faults": tar bomb). Together they keep whoever reads
//! one under 128 MiB of memory.

/// Entries of one archive.
pub const ENTRIES: u64 = 2_000_000;
/// Directories of an entry's path.
pub const DEPTH: usize = 1024;
/// Bytes of a path: what one system call takes (path_resolution(7), PATH_MAX with its NUL).
pub const PATH: usize = 4095;
/// Bytes of one PAX header or GNU long name.
pub const EXTENSION: u64 = 1 << 20;
/// Pieces of one sparse file (CVE-2025-58183).
pub const SPARSE_PIECES: usize = 1 << 16;
/// Bytes of all files of one archive, holes counted.
pub const SIZE: u64 = 1 << 40;
/// Bytes out per byte in ...
pub const RATIO: u64 = 1000;
/// ... once so many bytes are out.
pub const RATIO_FROM: u64 = 64 << 20;
/// Bytes that are remembered about directories and whiteouts until the end of a layer.
pub const LEDGER: usize = 40 << 20;
/// Base-2 logarithm of the largest zstd window: 64 MiB, eight times what RFC 8878 (3.1.1.1.2) asks of every decoder.
pub const ZSTD_WINDOW_LOG: u32 = 26;
/// Layers of one image: more than this overlayfs does not stack (OVL_MAX_STACK).
pub const LAYERS: usize = 500;
