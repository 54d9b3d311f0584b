//! The files of the page (`web/`), which are part of the program.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// A file of the page.
pub struct Asset {
    /// The path of its address.
    path: &'static str,
    pub bytes: &'static [u8],
}

/// Files below `web/`.
macro_rules! assets {
    ($($path:literal)*) => {
        &[$(Asset { path: concat!("/", $path), bytes: include_bytes!(concat!("../web/", $path)) }),*]
    };
}

/// All of them: each has a line.
const ASSETS: &[Asset] = assets! {
    "icons/icon-192.png"
    "icons/icon-512.png"
    "icons/icon-unread.svg"
    "icons/icon.svg"
    "index.html"
    "manifest.webmanifest"
    "page/blobs.js"
    "page/commands.js"
    "page/composer.js"
    "page/core.js"
    "page/disk.js"
    "page/dom.js"
    "page/files.js"
    "page/keyfile.js"
    "page/keyholder.js"
    "page/keys.js"
    "page/link.js"
    "page/list.js"
    "page/locker.js"
    "page/main.js"
    "page/notify.js"
    "page/own.js"
    "page/panes.js"
    "page/preview.js"
    "page/room.js"
    "page/rows.js"
    "page/sheets.js"
    "page/store.js"
    "page/style.css"
    "page/thumb.js"
    "page/vault.js"
    "page/words.js"
    "server.json"
    "sw.js"
};

/// The client for browsers (WebAssembly), compressed with gzip: `web/core/build` makes it.
static CORE: Asset = Asset { path: "/core.wasm", bytes: include_bytes!("../web/core.wasm.gz") };

/// The first page.
const INDEX: &str = "/index.html";

/// Returns the file at a path.
pub fn find(path: &str) -> Option<&'static Asset> {
    let path = if path == "/" { INDEX } else { path };
    ASSETS.iter().find(|asset| asset.path == path)
}

/// Returns the client for browsers, which only a server serves.
pub fn core() -> &'static Asset {
    &CORE
}

/// The entity tags, by path. Each is computed once.
static TAGS: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
    let tag = |asset: &Asset| (asset.path, format!("\"{}\"", hex(Sha256::digest(asset.bytes))));
    ASSETS.iter().chain([core()]).map(tag).collect()
});

/// Returns a text that differs between builds with other files. It is computed once.
pub fn tag() -> &'static str {
    static TAG: LazyLock<String> = LazyLock::new(|| {
        let each = |hash: Sha256, asset: &Asset| hash.chain_update(Sha256::digest(asset.bytes));
        hex(ASSETS.iter().chain([core()]).fold(Sha256::new(), each).finalize())
    });
    &TAG
}

fn hex(hash: impl AsRef<[u8]>) -> String {
    hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Asset {
    /// Returns whether this is its path.
    pub fn is_at(&self, path: &str) -> bool {
        self.path == path
    }

    /// Returns the type of its content, by its name.
    pub fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "json" => "application/json",
            "wasm" => "application/wasm",
            "webmanifest" => "application/manifest+json",
            _ => "application/octet-stream",
        }
    }

    /// Returns its entity tag: a page that is there already is not sent again.
    pub fn tag(&self) -> &'static str {
        &TAGS[self.path]
    }

    /// Returns whether its bytes are compressed with gzip.
    pub fn is_compressed(&self) -> bool {
        self.path.ends_with(".wasm")
    }
}

impl fmt::Debug for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The files below a folder, as paths of addresses.
    fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{below}/{}", entry.file_name().to_str().unwrap());
            // The client for the Worker is built from it, and served by the server.
            if name.starts_with("/core") {
                continue;
            }
            match entry.file_type().unwrap().is_dir() {
                true => files(&entry.path(), &name, found),
                false => drop(found.insert(name)),
            }
        }
    }

    #[test]
    fn each_file_of_the_page_is_served_with_its_type() {
        let mut found = BTreeSet::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("web"), "", &mut found);
        let served: BTreeSet<_> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        assert_eq!(found, served, "files of web/ on the left, the table on the right");
        for asset in ASSETS {
            assert_ne!(asset.content_type(), "application/octet-stream", "{}", asset.path);
        }
        assert_eq!(find("/").unwrap().content_type(), "text/html; charset=utf-8");
        assert!(find("/../Cargo.toml").is_none() && find("/page").is_none());
    }
}
