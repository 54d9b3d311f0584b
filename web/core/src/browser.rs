//! Services of the browser for the client: random bytes, operations with the user's key, the bytes
//! of files that are sent and fetched, and a report of a panic. The Worker waits for each, so that
//! the order of the client's steps does not change.

use std::io::{self, ErrorKind};

use pychat::crypto::identity::{KeyHolder, MODULUS_BYTES};
use pychat::system::disk::Outside;
use zeroize::Zeroizing;

#[link(wasm_import_module = "page")]
unsafe extern "C" {
    /// Fills a buffer with random bytes.
    fn random(bytes: *mut u8, length: usize);

    /// Does an operation with the user's key. Returns the number of bytes that it has written, or
    /// -1. Its arguments are the address and length of a label, then of an input, and the address
    /// of `MODULUS_BYTES` bytes for the result.
    fn rsa(
        operation: u32,
        label: *const u8,
        label_bytes: usize,
        input: *const u8,
        input_bytes: usize,
        result: *mut u8,
    ) -> i32;

    /// Reads bytes of a file from an offset on. Returns 0, or -1 if the browser cannot read them.
    fn file_read(number: u32, from: f64, into: *mut u8, bytes: usize) -> i32;

    /// Adds bytes at the end of a file. Returns 0, or -1 if the browser accepts no more.
    fn file_append(number: u32, bytes: *const u8, length: usize) -> i32;

    /// Forgets a removed file.
    fn file_forget(number: u32);

    /// Reports the text of a panic, after which nothing runs.
    fn panicked(text: *const u8, bytes: usize);
}

/// RSAES-OAEP with SHA-256.
const OPEN: u32 = 1;
/// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
const SIGN: u32 = 2;

/// WebCrypto, which never exports the private key.
pub struct Browser;

impl KeyHolder for Browser {
    fn open(&self, label: &[u8], ct: &[u8; MODULUS_BYTES]) -> Option<Zeroizing<[u8; 32]>> {
        let (result, bytes) = operate(OPEN, label, ct);
        let secret: [u8; 32] = result.get(..bytes?)?.try_into().ok()?;
        Some(Zeroizing::new(secret))
    }

    fn sign(&self, message: &[u8]) -> Option<[u8; MODULUS_BYTES]> {
        let (result, bytes) = operate(SIGN, b"", message);
        (bytes? == MODULUS_BYTES).then_some(*result)
    }
}

fn operate(
    operation: u32,
    label: &[u8],
    input: &[u8],
) -> (Zeroizing<[u8; MODULUS_BYTES]>, Option<usize>) {
    let mut result = Zeroizing::new([0; MODULUS_BYTES]);
    // SAFETY: the Worker reads so many bytes at these addresses, and writes at most
    // `MODULUS_BYTES` to the last one. All of them live until it returns.
    let bytes = unsafe {
        rsa(
            operation,
            label.as_ptr(),
            label.len(),
            input.as_ptr(),
            input.len(),
            result.as_mut_ptr(),
        )
    };
    (result, usize::try_from(bytes).ok())
}

/// The files that the Worker has as Blobs.
pub struct Blobs;

impl Outside for Blobs {
    fn read(&self, number: u32, from: u64, into: &mut [u8]) -> io::Result<()> {
        // SAFETY: the Worker writes so many bytes at this address before it returns.
        let read = unsafe { file_read(number, from as f64, into.as_mut_ptr(), into.len()) };
        let unreadable = "the browser cannot read it any more: was it changed or removed?";
        if read == 0 { Ok(()) } else { Err(io::Error::other(unreadable)) }
    }

    fn append(&self, number: u32, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the Worker reads so many bytes at this address before it returns.
        let added = unsafe { file_append(number, bytes.as_ptr(), bytes.len()) };
        if added == 0 { Ok(()) } else { Err(ErrorKind::StorageFull.into()) }
    }

    fn forget(&self, number: u32) {
        // SAFETY: the function takes no address.
        unsafe { file_forget(number) };
    }
}

/// Reports each panic to the Worker.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        // SAFETY: the Worker reads so many bytes at this address before it returns.
        unsafe { panicked(text.as_ptr(), text.len()) };
    }));
}

/// The source of getrandom (`--cfg getrandom_backend="custom"`).
///
/// # Safety
/// `dest` is the address of `len` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    dest: *mut u8,
    len: usize,
) -> Result<(), getrandom::Error> {
    // SAFETY: the caller guarantees the buffer.
    unsafe { random(dest, len) };
    Ok(())
}
