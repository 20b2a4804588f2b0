//! SHA-256 of model files, remembered beside them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The file that remembers digests, in the directory of the model.
const CACHE_FILE: &str = ".digests.json";
/// A file that changed so recently may change again within the same tick of the clock of the file system: its digest
/// is not remembered.
const SETTLED: Duration = Duration::from_secs(2);
const CACHE_BYTES_MAX: u64 = 1 << 20;

/// What the system says of a file. Whoever writes to a file changes its ctime, and cannot set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    len: u64,
    inode: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Remembered {
    stamp: Stamp,
    sha256: String,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            len: metadata.len(),
            inode: metadata.ino(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(self.ctime.0.max(self.mtime.0)).unwrap_or(u64::MAX));
        changed.checked_add(SETTLED).is_some_and(|settled| settled < now)
    }
}

/// The SHA-256 of a file of a model, in hex.
///
/// Cost: reads the file, unless its size, inode and times are those of a digest remembered in the directory; what is
/// newly computed is remembered there if the directory can be written.
pub(super) fn sha256(directory: &Path, file: &str) -> Result<String> {
    let path = directory.join(file);
    let io = |op: &'static str| {
        let path = path.clone();
        move |source| Error::Io { op, path, source }
    };
    let mut open = File::open(&path).map_err(io("open"))?;
    let stamp = Stamp::of(&open.metadata().map_err(io("read"))?);
    let mut cache = remembered(directory).unwrap_or_default();
    if let Some(known) = cache.get(file)
        && known.stamp == stamp
        && known.sha256.len() == 64
    {
        return Ok(known.sha256.clone());
    }
    let sha256 = hash(&mut open).map_err(io("read"))?;
    let after = Stamp::of(&open.metadata().map_err(io("read"))?);
    if after != stamp {
        return Err(Error::invalid(path.display().to_string(), "it changed while it was read"));
    }
    if stamp.is_settled() {
        cache.insert(file.into(), Remembered { stamp, sha256: sha256.clone() });
        // A directory that cannot be written costs time, not correctness.
        let _ = remember(directory, &cache);
    }
    Ok(sha256)
}

fn hash(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(hex)
}

fn remembered(directory: &Path) -> Option<BTreeMap<String, Remembered>> {
    let mut bytes = Vec::new();
    File::open(directory.join(CACHE_FILE)).ok()?.take(CACHE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn remember(directory: &Path, cache: &BTreeMap<String, Remembered>) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&serde_json::to_vec(cache)?)?;
    file.persist(directory.join(CACHE_FILE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_digest_is_that_of_the_content_and_follows_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        write(&path, "abc");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(directory.path(), "weights").unwrap(), abc);
        write(&path, "abd");
        assert_ne!(sha256(directory.path(), "weights").unwrap(), abc);
    }

    #[test]
    fn a_remembered_digest_is_used_only_for_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        write(&path, "abc");
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let sha256_of = |stamp: Stamp| {
            let known = Remembered { stamp, sha256: "0".repeat(64) };
            remember(directory.path(), &BTreeMap::from([("weights".to_owned(), known)])).unwrap();
            sha256(directory.path(), "weights").unwrap()
        };
        assert_eq!(sha256_of(stamp.clone()), "0".repeat(64));
        let (seconds, nanoseconds) = stamp.ctime;
        for other in [
            Stamp { len: 4, ..stamp.clone() },
            Stamp { inode: stamp.inode + 1, ..stamp.clone() },
            Stamp { ctime: (seconds, nanoseconds + 1), ..stamp.clone() },
            Stamp { mtime: (seconds - 1, 0), ..stamp },
        ] {
            assert_ne!(sha256_of(other), "0".repeat(64));
        }
    }

    #[test]
    fn a_damaged_memory_is_computed_again() {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("weights"), "abc");
        write(&directory.path().join(CACHE_FILE), "{\"weights\": 3");
        assert!(sha256(directory.path(), "weights").unwrap().starts_with("ba7816bf"));
    }
}
