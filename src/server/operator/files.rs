//! `pychat ctl files`: the space that users' files take on the disk.

use std::fmt::Write;

use serde_json::json;

use super::reply::{Reply, no, with};
use crate::chat::FileBytes;
use crate::ledger::LedgerError;
use crate::server::context::Context;
use crate::server::files::store::BlobStore;

pub fn files(context: &Context) -> Reply {
    let Some(files) = &context.files else { return no("this server keeps no files") };
    let asked = context.ledger.ask(|ledger| {
        let totals = ledger.blobs().blob_totals()?;
        Ok::<_, LedgerError>((totals, ledger.blobs().blob_owners()?))
    });
    let (totals, owners) = match asked {
        Some(Ok((totals, owners))) => {
            // The ledger has no spelling of names.
            let spelled = |name| context.accounts.find(&name).unwrap_or(name);
            let owners: Vec<_> =
                owners.into_iter().map(|(name, own)| (spelled(name), own)).collect();
            (totals, owners)
        }
        Some(Err(error)) => return no(&error.to_string()),
        None => return no("the server is stopping"),
    };
    let limits = &context.config.get().limits;
    let free = BlobStore::free_bytes(files.ports().store()).ok();
    let size = |bytes: u64| FileBytes(bytes).to_string();
    let mut text = String::new();
    for (name, own) in &owners {
        let _ = writeln!(text, "{name:<20} {:>6} files  {}", own.files, size(own.bytes));
    }
    let (used, of) = (size(totals.bytes), size(limits.files_bytes_max as u64));
    let free_text = free.map_or("unknown".to_owned(), size);
    let _ =
        write!(text, "{} files take {used} of {of}; the disk has {free_text} left", totals.files);
    let rows = owners.iter();
    let rows: Vec<_> = rows
        .map(|(name, own)| json!({"name": name, "files": own.files, "bytes": own.bytes}))
        .collect();
    let data = json!({
        "files": totals.files, "bytes": totals.bytes, "bytes_max": limits.files_bytes_max,
        "free_bytes": free, "people": rows,
    });
    with(text, data)
}
