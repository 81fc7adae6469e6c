//! A directory for one test's files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// A directory of mode 0700 that is removed when dropped, unless `PORTCULLIS_KEEP` is set.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one; `name` only helps whoever looks at a kept directory.
    pub fn new(name: &str) -> Scratch {
        use std::os::unix::fs::DirBuilderExt;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("portcullis-{name}-{}-{unique}", process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        Scratch(path)
    }

    /// Path of `file` in the directory.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Writes a file of the given mode and returns its path.
    pub fn write(&self, file: &str, mode: u32, content: &[u8]) -> PathBuf {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.path(file);
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut f| f.write_all(content))
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if env::var_os("PORTCULLIS_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        } else {
            crate::cases::say(&format!("kept {}", self.0.display()));
        }
    }
}
